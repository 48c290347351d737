#!/usr/bin/env bash
{% for line in directives %}
{{ line }}
{% endfor %}
#
# Written by `xpcs-dask submit`: fits into {{ output }}, with the settings of job.yaml beside this file.
set -u
job={{ folder | sh }}
python={{ python | sh }}
cd {{ start | sh }} || exit 1
{% for line in prologue %}
{{ line }}
{% endfor %}

{% if mode == "allocation" %}
{% include "worker.sh" %}

{% endif %}
{% include "turns.sh" %}

{% include mode + ".sh" %}

{% include "end.sh" %}
