"use strict";
(() => {
  const SUPER = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  const raised = (power) => String(power).replace(/./g, (sign) => SUPER[sign]);
  const glossary = JSON.parse(document.getElementById("glossary").textContent);

  const plain = (text) => {
    if (text === "") return "–";
    const value = Number(text), size = Math.abs(value);
    if (Number.isNaN(value)) return text === "inf" ? "∞" : text === "-inf" ? "−∞" : text;
    if (value === 0) return "0";
    if (size >= 1e-3 && size < 1e5) return size < 1e4 ? String(Number(value.toPrecision(4))) : value.toFixed(0);
    const [mantissa, power] = value.toExponential(3).split("e");
    return `${Number(mantissa)} × 10${raised(Number(power))}`;
  };
  const measured = (text, error) => {
    if (text === "") return "–";
    const value = Number(text), width = Number(error);
    if (error === "" || !Number.isFinite(width) || width <= 0) return `${plain(text)} ± –`;
    const top = Math.floor(Math.log10(Math.max(Math.abs(value), width))), last = Math.floor(Math.log10(width)) - 1;
    if (top < -3 || top >= 5) {
      const places = Math.max(top - last, 0), unit = 10 ** top;
      return `(${(value / unit).toFixed(places)} ± ${(width / unit).toFixed(places)}) × 10${raised(top)}`;
    }
    const places = Math.max(-last, 0);
    return `${value.toFixed(places)} ± ${width.toFixed(places)}`;
  };
  const order = Object.keys(glossary);
  const worst = (names) => {
    const there = new Set(names.split(" "));
    return order.filter((name) => there.has(name) && glossary[name].weight !== "note");
  };
  const ENDING = /(_results)?\.(hdf5?|h5|nxs|nc|csv|txt|dat|npz)$/i;
  const shortened = (name) => {
    const text = name.replace(ENDING, "");
    return text.length <= 28 ? text : `${text.slice(0, 14)}…${text.slice(-13)}`;
  };

  const unpack = async (id) => {
    const packed = Uint8Array.from(atob(document.getElementById(id).textContent.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  };
  const parse = (text) => {
    const rows = [];
    let row = [], start = 0, at = 0;
    const end = (value) => row.push(value);
    while (at < text.length) {
      if (text[at] === '"') {
        let value = "";
        at += 1;
        for (;;) {
          const close = text.indexOf('"', at);
          value += text.slice(at, close);
          at = close + 1;
          if (text[at] !== '"') break;
          value += '"';
          at += 1;
        }
        end(value);
      } else {
        start = at;
        while (at < text.length && text[at] !== "," && text[at] !== "\n") at += 1;
        end(text.slice(start, at));
      }
      if (text[at] === "\n") { rows.push(row); row = []; }
      else if (at + 1 === text.length) end("");
      at += 1;
    }
    if (row.length) rows.push(row);
    return rows;
  };
  const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replace(/"/g, '""')}"` : value);
  const csv = (rows) => rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";

  const copy = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const box = document.createElement("textarea");
      box.value = text;
      box.setAttribute("aria-hidden", "true");
      box.style.cssText = "position:fixed;opacity:0";
      document.body.append(box);
      box.select();
      const done = document.execCommand("copy");
      box.remove();
      return done;
    }
  };
  const say = (button, text) => {
    const before = button.dataset.label || button.textContent;
    button.dataset.label = before;
    button.textContent = text;
    setTimeout(() => { button.textContent = before; }, 1600);
  };

  const cell = (column, row, place) => {
    const made = document.createElement("td"), value = row[place[column.name]];
    if (column.kind === "flags") {
      made.className = "flags";
      for (const name of worst(value)) {
        const known = glossary[name], chip = document.createElement("span");
        chip.className = `flag ${known.weight}`;
        chip.textContent = known.title;
        chip.title = `${known.meaning} ${known.advice || ""}`;
        made.append(chip, " ");
      }
    } else if (column.kind === "measured") {
      const error = row[place[column.error]];
      made.className = "number";
      made.textContent = measured(value, error);
      if (value !== "") made.title = `${value} ± ${error}`;
    } else if (column.kind === "number") {
      made.className = "number";
      made.textContent = plain(value);
      made.title = value;
    } else if (column.kind === "link") {
      const link = document.createElement("a");
      link.href = row[place[column.error]];
      link.textContent = value;
      made.append(link);
    } else if (column.kind === "name") {
      made.textContent = shortened(value);
      made.title = value;
    } else {
      made.textContent = value;
      if (column.kind === "verdict") made.className = `verdict-${value}`;
    }
    return made;
  };

  const compare = (numeric, at, sign) => (first, second) => {
    const a = first[at], b = second[at];
    if (a === b) return 0;
    if (a === "") return 1;
    if (b === "") return -1;
    if (numeric) return sign * (Number(a.replace("inf", "Infinity")) - Number(b.replace("inf", "Infinity")));
    return a < b ? -sign : sign;
  };

  const wake = async (box) => {
    const name = box.dataset.table, spec = JSON.parse(document.getElementById(`spec-${name}`).textContent);
    const all = parse(await unpack(`data-${name}`)), header = all.shift();
    const place = Object.fromEntries(header.map((title, at) => [title, at]));
    const tools = box.querySelector(".tools"), body = box.querySelector("tbody"), heads = [...box.querySelectorAll("thead th")];
    const part = (role) => tools.querySelector(`[data-role="${role}"]`);
    const PAGE = spec.page;
    let found = all, first = 0, sorted = null;

    const show = () => {
      body.replaceChildren(...found.slice(first, first + PAGE).map((row) => {
        const line = document.createElement("tr");
        line.append(...spec.columns.map((column) => cell(column, row, place)));
        return line;
      }));
      const last = Math.min(first + PAGE, found.length);
      part("count").textContent = found.length ? `${(first + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${found.length.toLocaleString("en")}` : "none";
      part("back").disabled = first === 0;
      part("next").disabled = last >= found.length;
    };
    const choose = () => {
      const words = part("filter").value.toLowerCase().split(/\s+/).filter(Boolean), verdict = part("verdict")?.value;
      found = all.filter((row) => {
        if (verdict && row[place.verdict] !== verdict) return false;
        if (!words.length) return true;
        const text = row.join(" ").toLowerCase();
        return words.every((word) => text.includes(word));
      });
      if (sorted) found = found.slice().sort(compare(sorted.numeric, sorted.at, sorted.sign));
      first = 0;
      show();
    };
    heads.forEach((head, at) => {
      const column = spec.columns[at], button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent.trim();
      button.title = `sort by ${column.hint || column.title}`;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
        sorted = { at: place[column.name], sign, numeric: column.kind === "number" || column.kind === "measured" };
        choose();
      });
    });
    part("filter").addEventListener("input", choose);
    part("verdict")?.addEventListener("change", choose);
    part("back").addEventListener("click", () => { first = Math.max(0, first - PAGE); show(); });
    part("next").addEventListener("click", () => { first += PAGE; show(); });
    part("copy").addEventListener("click", async (event) => {
      const done = await copy(csv([header, ...found]));
      say(event.target, done ? `copied ${found.length.toLocaleString("en")} rows` : "could not copy");
    });
    part("save").addEventListener("click", () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([csv([header, ...found])], { type: "text/csv" }));
      link.download = `${name}.csv`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
    show();
    tools.hidden = false;
    box.dataset.ready = "yes";
  };

  for (const box of document.querySelectorAll("[data-table]")) {
    wake(box).catch((reason) => {
      const note = document.createElement("p");
      note.className = "small soft";
      note.textContent = `Sorting is not available in this browser (${reason}).`;
      box.prepend(note);
    });
  }
  for (const button of document.querySelectorAll("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      say(button, (await copy(document.getElementById(button.dataset.of).textContent)) ? "copied" : "could not copy");
    });
  }
})();
