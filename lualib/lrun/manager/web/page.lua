--- The page that `web` serves: one document with its style and script, no other file. Draws what the server's streams tell: the list of
--- apps, and of the chosen one plots of ten minutes with marks, its instances, and its log with a filter.
local page = {}

local STYLE = [[
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #1a7f37; --warn: #9a6700; --bad: #cf222e; --off: #6e7781;
  --plot: #0969da; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --warn: #d29922; --bad: #f85149; --off: #8b949e; --plot: #58a6ff; } }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.45 system-ui, sans-serif; }
header { display: flex; gap: 1rem; align-items: baseline; padding: .6rem 1rem; border-bottom: 1px solid var(--line); flex-wrap: wrap; }
h1 { font-size: 1.1rem; margin: 0; } h2 { font-size: 1.1rem; margin: 0; } h3 { font-size: .95rem; margin: 1rem 0 .4rem; }
#link { margin-left: auto; color: var(--off); } #link.live { color: var(--good); }
main { display: grid; grid-template-columns: minmax(18rem, 26rem) 1fr; min-height: calc(100vh - 3rem); }
#side { border-right: 1px solid var(--line); padding: .6rem; overflow: auto; }
#detail { padding: .8rem 1rem; min-width: 0; }
input, button { font: inherit; color: inherit; background: transparent; border: 1px solid var(--line); border-radius: .4rem; padding: .35rem .6rem; }
input { width: 100%; } button { cursor: pointer; min-height: 2.2rem; }
button:focus-visible, input:focus-visible, pre:focus-visible { outline: 2px solid var(--plot); outline-offset: 1px; }
#apps { list-style: none; margin: .6rem 0 0; padding: 0; display: grid; gap: .4rem; }
.app { width: 100%; text-align: left; display: grid; grid-template-columns: 1fr auto; gap: .1rem .6rem; }
.app[aria-current=true] { background: var(--soft); border-color: var(--plot); }
.name { font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.facts { color: var(--off); font-size: .85rem; grid-column: 1 / 3; }
.state { font-size: .8rem; font-weight: 600; } .online { color: var(--good); } .starting, .waiting, .stopping { color: var(--warn); }
.failed, .down { color: var(--bad); } .stopped { color: var(--off); }
#plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .8rem; margin-top: .8rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: .4rem; padding: .4rem .6rem; }
figcaption { display: flex; justify-content: space-between; font-size: .85rem; }
svg { width: 100%; height: 64px; display: block; } .plot { fill: none; stroke: var(--plot); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.mark { stroke: var(--warn); stroke-width: 1; vector-effect: non-scaling-stroke; stroke-dasharray: 3 2;
  } .mark.failed, .mark.exit { stroke: var(--bad); }
.mark.reload { stroke: var(--good); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--soft); white-space: nowrap; } th:first-child,
  td:first-child { text-align: left; }
#actions { display: flex; gap: .4rem; flex-wrap: wrap; margin-top: .6rem; }
#log { height: 22rem; overflow: auto; margin: .4rem 0 0; padding: .5rem; border: 1px solid var(--line); border-radius: .4rem;
  font: 12.5px/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
#log .err { color: var(--bad); } #notes { list-style: none; padding: 0; margin: .4rem 0; font-size: .85rem; max-height: 8rem; overflow: auto; }
#message { color: var(--bad); min-height: 1.4em; }
@media (max-width: 48rem) {
  main { grid-template-columns: 1fr; } #side { border-right: 0; border-bottom: 1px solid var(--line); } #log { height: 60vh; }
}
]]

local BODY = [[
<header><h1>lrun</h1><span id="summary" role="status"></span><span id="link">connecting</span></header>
<main>
<section id="side" aria-label="Apps">
<input id="find" type="search" placeholder="Find an app" aria-label="Find an app">
<ul id="apps"></ul>
</section>
<section id="detail" aria-label="Details" hidden>
<h2><span id="title"></span> <span id="state" class="state"></span></h2>
<div id="actions" hidden></div><div id="message" role="alert"></div>
<div id="plots"></div>
<h3>Instances</h3><div class="scroll"><table id="instances"></table></div>
<h3>What happened</h3><ul id="notes"></ul>
<h3>Log</h3>
<input id="filter" type="search" placeholder="Filter lines  ( / )" aria-label="Filter lines">
<pre id="log" tabindex="0" aria-label="Log lines"></pre>
</section>
</main>
]]

local SCRIPT = [=[
'use strict';
const SPAN = 600000, KEPT = 300, LINES = 2000, WIDTH = 300, HEIGHT = 60;
const control = @CONTROL@;
const token = new URLSearchParams(location.search).get('token') || '';
const url = (path, more) => path + '?' + new URLSearchParams({ token, ...more });
const $ = (id) => document.getElementById(id);
const apps = new Map(), history = new Map();
let marks = [], chosen = null, logs = null, lines = [], first = true;

const bytes = (n) => n === undefined ? '–' : n >= 1073741824 ? (n / 1073741824).toFixed(1) + ' GB'
  : n >= 1048576 ? (n / 1048576).toFixed(1) + ' MB' : (n / 1024).toFixed(0) + ' KB';
const number = (n, unit) => n === undefined ? '–' : (Math.round(n * 10) / 10) + (unit || '');
const age = (ms) => {
  if (ms === undefined) return '–';
  const s = Math.floor(ms / 1000);
  return s < 60 ? s + 's' : s < 3600 ? Math.floor(s / 60) + 'm' : s < 172800 ? Math.floor(s / 3600) + 'h' : Math.floor(s / 86400) + 'd';
};
const PLOTS = [['cpu', 'Processor', (v) => number(v, ' %')], ['memory', 'Memory', bytes], ['connections', 'Connections', (v) => number(v)],
  ['rps', 'Requests a second', (v) => number(v)], ['lag', 'Loop lag', (v) => number(v, ' ms')]];

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
function shape(tag, attributes) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function drawApp(app) {
  let item = $('app-' + app.id);
  if (!item) {
    const button = element('button', { className: 'app', type: 'button' });
    button.addEventListener('click', () => choose(app.id));
    item = element('li', { id: 'app-' + app.id }, button);
    $('apps').append(item);
  }
  const online = app.instances.filter((i) => i.state === 'online').length;
  const t = app.total;
  item.firstChild.replaceChildren(element('span', { className: 'name', textContent: app.name }),
    element('span', { className: 'state ' + app.state, textContent: app.state }),
    element('span', { className: 'facts', textContent: `${online}/${app.instances.length} · ${number(t.cpu, ' %')} · ${bytes(t.memory)}` +
      (t.rps === undefined ? '' : ` · ${number(t.rps)} req/s`) + (t.lag === undefined ? '' : ` · lag ${number(t.lag,
        ' ms')}`) + ` · ${app.restarts} restarts` }));
  item.firstChild.setAttribute('aria-current', String(app.id === chosen));
}

function drawList() {
  const wanted = $('find').value.toLowerCase();
  for (const item of [...$('apps').children]) if (!apps.has(Number(item.id.slice(4)))) item.remove();
  for (const app of apps.values()) {
    drawApp(app);
    $('app-' + app.id).hidden = !app.name.toLowerCase().includes(wanted);
  }
  const all = [...apps.values()];
  $('summary').textContent = `${all.length} apps, ${all.filter((a) => a.state === 'online').length} online`;
}

function drawPlot(key, title, show, samples, now) {
  const known = samples.filter((s) => s[key] !== undefined);
  const most = Math.max(...known.map((s) => s[key]), key === 'cpu' ? 5 : 1);
  const x = (time) => ((time - now + SPAN) / SPAN * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - value / most * (HEIGHT - 4) - 2).toFixed(1);
  const svg = shape('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img',
    'aria-label': title + ' in the last ten minutes' });
  for (const mark of marks) {
    if (mark.id !== chosen || mark.time < now - SPAN || mark.event === 'online') continue;
    const line = shape('line', { class: 'mark ' + mark.event, x1: x(mark.time), x2: x(mark.time), y1: 0, y2: HEIGHT });
    const tip = shape('title', {});
    tip.textContent = describe(mark);
    line.append(tip);
    svg.append(line);
  }
  if (known.length) svg.append(shape('polyline', { class: 'plot', points: known.map((s) => x(s.time) + ',' + y(s[key])).join(' ') }));
  const last = known.length ? known[known.length - 1][key] : undefined;
  return element('figure', { id: 'plot-' + key }, element('figcaption', {}, title, element('b', { textContent: show(last) })), svg);
}

function describe(mark) {
  const what = mark.event === 'reload' ? 'reload: ' + mark.phase : mark.event;
  const which = mark.number === undefined ? '' : ' of instance ' + mark.number;
  const why = mark.signal || mark.reason ? ` (${[mark.signal || (mark.code !== undefined ? 'code ' + mark.code : ''),
    mark.reason].filter(Boolean).join(', ')})` : '';
  return new Date(mark.time).toLocaleTimeString() + '  ' + what + which + why;
}

function drawDetail() {
  const app = apps.get(chosen);
  $('detail').hidden = !app;
  if (!app) return;
  $('title').textContent = app.name;
  $('state').textContent = app.state;
  $('state').className = 'state ' + app.state;
  const samples = history.get(chosen) || [], now = samples.length ? samples[samples.length - 1].time : Date.now();
  $('plots').replaceChildren(...PLOTS.map(([key, title, show]) => drawPlot(key, title, show, samples, now)));
  const head = ['#', 'state', 'pid', 'restarts', 'up', 'cpu', 'memory', 'connections', 'req/s', 'lag'];
  const row = (i) => [i.number, i.state, i.pid === undefined ? '–' : i.pid, i.restarts, age(i.uptime), number(i.cpu, ' %'),
    bytes(i.memory), number(i.connections), number(i.rps), number(i.lag, ' ms')];
  $('instances').replaceChildren(element('tr', {}, ...head.map((t) => element('th', { textContent: t, scope: 'col' }))),
    ...app.instances.map((i) => element('tr', {}, ...row(i).map((t, n) => element('td', { textContent: t,
      className: n === 1 ? 'state ' + i.state : '' })))));
  $('notes').replaceChildren(...marks.filter((m) => m.id === chosen).slice(-30).reverse().map((m) => element('li',
    { textContent: describe(m) })));
}

function drawLine(entry) {
  return element('div', { className: entry.stream,
    textContent: (apps.get(chosen) || { instances: [] }).instances.length > 1 ? entry.instance + ' | ' + entry.line : entry.line });
}
const matches = (entry) => entry.line.toLowerCase().includes($('filter').value.toLowerCase());
function drawLog() {
  $('log').replaceChildren(...lines.filter(matches).map(drawLine));
  $('log').scrollTop = $('log').scrollHeight;
}
function addLine(entry) {
  lines.push(entry);
  const log = $('log'), atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (lines.length > LINES) { lines.splice(0, LINES / 2); return drawLog(); }
  if (!matches(entry)) return;
  log.append(drawLine(entry));
  if (atEnd) log.scrollTop = log.scrollHeight;
}

async function act(verb, more) {
  if ((verb === 'delete' || verb === 'stop') && !confirm(`${verb} ${apps.get(chosen).name}?`)) return;
  $('message').textContent = '';
  const response = await fetch(url('/api/' + verb, { target: '#' + chosen, ...more }), { method: 'POST' });
  if (!response.ok) $('message').textContent = (await response.json()).error.message;
}

function choose(id) {
  chosen = id;
  drawList();
  drawDetail();
  lines = [];
  $('filter').value = '';
  drawLog();
  if (logs) logs.close();
  logs = new EventSource(url('/api/logs', { target: '#' + id }));
  logs.addEventListener('line', (e) => addLine(JSON.parse(e.data)));
  logs.addEventListener('error', () => { lines = []; drawLog(); });
}

function takeSample(sample) {
  apps.clear();
  for (const app of sample.apps) {
    apps.set(app.id, app);
    const list = history.get(app.id) || [];
    history.set(app.id, list);
    if (!list.length || list[list.length - 1].time < sample.time) list.push({ time: sample.time, ...app.total });
    if (list.length > KEPT) list.shift();
  }
  drawList();
  if (chosen === null && apps.size && matchMedia('(min-width: 48rem)').matches) choose([...apps.keys()][0]);
  drawDetail();
}

async function load() {
  const answer = await (await fetch(url('/api/history'))).json();
  marks = answer.marks;
  for (const { id, samples } of answer.histories) history.set(id, samples);
}

function follow() {
  const events = new EventSource(url('/api/events'));
  events.addEventListener('open', async () => {
    $('link').textContent = 'live';
    $('link').className = 'live';
    if (!first) await load();
    first = false;
  });
  events.addEventListener('error', () => { $('link').textContent = 'reconnecting'; $('link').className = ''; });
  events.addEventListener('sample', (e) => takeSample(JSON.parse(e.data)));
  events.addEventListener('event', (e) => {
    marks.push(JSON.parse(e.data));
    if (marks.length > 500) marks.shift();
    drawDetail();
  });
}

document.addEventListener('keydown', (e) => {
  if (e.key === '/' && e.target.tagName !== 'INPUT') { e.preventDefault(); ($('detail').hidden ? $('find') : $('filter')).focus(); }
  if (e.key === 'Escape' && chosen !== null && $('app-' + chosen)) $('app-' + chosen).firstChild.focus();
  if ((e.key === 'ArrowDown' || e.key === 'ArrowUp') && e.target.className === 'app') {
    const all = [...document.querySelectorAll('li:not([hidden]) > .app')], at = all.indexOf(e.target) + (e.key === 'ArrowDown' ? 1 : -1);
    if (all[at]) { e.preventDefault(); all[at].focus(); }
  }
});
$('find').addEventListener('input', drawList);
$('filter').addEventListener('input', drawLog);
if (control) {
  for (const [verb, text] of [['start', 'Start'], ['restart', 'Restart'], ['reload', 'Reload'], ['stop', 'Stop'], ['reset', 'Reset counters']]) {
    const button = element('button', { type: 'button', textContent: text });
    button.addEventListener('click', () => act(verb));
    $('actions').append(button);
  }
  for (const [count, text] of [['+1', 'One more'], ['-1', 'One less']]) {
    const button = element('button', { type: 'button', textContent: text });
    button.addEventListener('click', () => act('scale', { count }));
    $('actions').append(button);
  }
  $('actions').hidden = false;
}
load().then(follow, () => { $('link').textContent = 'refused'; });
]=]

--- The document.
---@param nonce string by which the style and the script are allowed
---@param control boolean whether it has buttons that change something
---@return string
function page.html(nonce, control)
  return table.concat{
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
    "<title>lrun</title>", '<link rel="icon" href="data:,">', '<style nonce="', nonce, '">', STYLE, "</style></head><body>", BODY,
    '<script nonce="', nonce, '">', (SCRIPT:gsub("@CONTROL@", tostring(control))), "</script></body></html>\n",
  }
end

return page
