/* The live gradient check: reads the curves that the page carries, draws one of them, says what it means. */
(() => {
  const get = (id) => document.getElementById(id);
  const data = JSON.parse(get("curves").textContent);
  const [LEFT, TOP, WIDE, HIGH] = [52, 14, 400, 240];
  const x = (step) => LEFT + WIDE * (1 + step / 13); // step and error: powers of ten
  const y = (error) => TOP + HIGH * ((1 - error) / 17);
  const LIMIT = -7; // of float64, as in minipeft gradcheck

  const element = (kind, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };
  const words = (at, text, anchor = "middle") =>
    element("text", { x: at[0], y: at[1], "font-size": 13, fill: "#202124", "text-anchor": anchor }, text);
  const line = (errors, colour, width) =>
    element("polyline", {
      points: errors.map((error, i) => `${x(data.steps[i])},${y(error)}`).join(" "),
      fill: "none", stroke: colour, "stroke-width": width,
    });
  const power = (p) => (p === 0 ? "1" : `1e${p}`);

  const operation = () => data.operations[get("operation").value];
  const kind = () =>
    `${get("float32").checked ? "float32" : "float64"} ${get("ones").checked ? "ones" : "random"}`;

  function options(select, names) {
    select.replaceChildren(...names.map((name, i) => new Option(name, i)));
  }

  function draw() {
    const { claims, code } = operation();
    const claim = claims[get("mistake").value];
    const i = data.steps.length - 1 - get("step").value; // small steps on the left, as in the picture
    const errors = claim.errors[kind()];
    const parts = [];
    for (let p = -12; p <= 0; p += 3) parts.push(words([x(p), TOP + HIGH + 20], power(p)));
    for (let p = -16; p <= 0; p += 4) {
      parts.push(words([LEFT - 8, y(p) + 4], power(p), "end"));
      parts.push(element("path", { d: `M${LEFT} ${y(p)} h${WIDE}`, stroke: "#e0e0e0" }));
    }
    parts.push(element("path", { d: `M${LEFT} ${y(LIMIT)} h${WIDE}`, stroke: "#5f6368", "stroke-dasharray": "6 4" }));
    parts.push(words([LEFT + WIDE, y(LIMIT) - 6], "limit 1e-7", "end"));
    parts.push(words([LEFT + WIDE / 2, TOP + HIGH + 42], "step h"), words([LEFT + 4, TOP + 4], "relative error", "start"));
    parts.push(line(claims[0].errors[kind()], "#9aa0a6", 2));
    parts.push(line(errors, claim === claims[0] ? "#0055a4" : "#e8710a", 3));
    parts.push(element("path", { d: `M${x(data.steps[i])} ${TOP} v${HIGH}`, stroke: "#202124" }));
    parts.push(element("circle", { cx: x(data.steps[i]), cy: y(errors[i]), r: 6, fill: "#202124" }));
    get("picture").replaceChildren(...parts);

    const shown = `Step ${(10 ** data.steps[i]).toExponential(1)}, ${kind().replace(" ", ", probe: ")}: relative error ${(10 ** errors[i]).toExponential(1)}.`;
    const best = Math.min(...errors);
    const wrong = claim !== claims[0];
    let verdict = best < LIMIT ? "At its best step it passes the limit of 1e-7." : "No step passes the limit of 1e-7.";
    const hidden = wrong && best <= Math.min(...claims[0].errors[kind()]) + 0.5;
    if (hidden) verdict += " The mistake is there, and this probe does not see it.";
    if (!wrong && best >= LIMIT) verdict += " The backward is right: float32 cannot show it.";
    get("verdict").textContent = `${shown} ${verdict}`;
    get("step").setAttribute("aria-valuetext", (10 ** data.steps[i]).toExponential(1));
    get("code").setAttribute("href", code);
  }

  function choose() {
    options(get("mistake"), operation().claims.map((claim) => claim.words));
    draw();
  }

  options(get("operation"), data.operations.map((o) => o.name));
  get("operation").addEventListener("change", choose);
  for (const id of ["mistake", "float32", "ones", "step"]) get(id).addEventListener("input", draw);
  choose();
})();
