import json

import pytest

from xpcs_dask.reporting.head import Head, as_json, state_of


@pytest.mark.parametrize("text", ["</script>", "<!--<script ", "a & b", "µm²/s ± 1", "]]>"])
def test_json_in_a_script_cannot_end_it(text):
    written = as_json({"title": text})
    assert not set(written) & set("<>&")
    assert json.loads(written) == {"title": text}


def test_the_head_comes_back_from_the_page(page, run):
    head = Head.read(run / "report.html")
    assert head.model_dump(mode="json") == page.json("xpcs-head")
    assert head.state == state_of(run / "fits.zarr") != ""


@pytest.mark.parametrize("text", ["", "<p>no report</p>", '<script type="application/json" id="xpcs-head">{]</script>'])
def test_other_pages_have_no_head(tmp_path, text):
    (tmp_path / "other.html").write_text(text)
    assert Head.read(tmp_path / "other.html") is None
    assert Head.read(tmp_path / "gone.html") is None
