// The style of the report page: one sheet for light and dark, wide and narrow.
#pragma once

namespace lockstep {

inline constexpr const char* kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f6f3; --card: #ffffff; --ink: #1b2026; --soft: #5d6670; --line: #e4e4de;
  --blue: 43 95 217; --orange: 214 98 32; --green: 24 137 82; --red: 201 52 43; --violet: 124 77 201;
  --sky: 126 164 240;
  --grey: 128 136 146; --code: #f2f2ee; --strong-text: #ffffff;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #101316; --card: #181c20; --ink: #e9ebee; --soft: #99a3ad; --line: #2b3138;
    --blue: 104 152 255; --orange: 255 158 94; --green: 76 195 132; --red: 255 116 102;
    --violet: 178 140 245; --sky: 62 98 178; --grey: 132 142 153; --code: #12161a; --strong-text: #0d1013;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 56px; }
h1, h2, p, figure, dl, dd { margin: 0; }
h1 { font-size: 30px; line-height: 1.2; font-weight: 650; letter-spacing: -0.015em;
     overflow-wrap: anywhere; }
h2 { font-size: 18px; line-height: 1.3; font-weight: 620; letter-spacing: -0.005em;
     margin: 44px 0 14px; }
code, pre, .mono { font-family: ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas,
                   "DejaVu Sans Mono", monospace; }
.brand { color: var(--soft); font-size: 12px; font-weight: 600; letter-spacing: 0.09em;
         text-transform: uppercase; margin-bottom: 6px; }
.title { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; }
.status { font-size: 13px; font-weight: 600; line-height: 1; padding: 6px 11px 6px 9px;
          border-radius: 99px; display: inline-flex; align-items: center; gap: 7px;
          color: rgb(var(--hue)); background: rgb(var(--hue) / 0.12); }
.status::before { content: ""; width: 8px; height: 8px; border-radius: 50%; background: currentColor; }
.finished { --hue: var(--green); } .stopped { --hue: var(--orange); }
.failed { --hue: var(--red); } .unfinished { --hue: var(--grey); }
.subtitle { color: var(--soft); margin-top: 8px; }
.card, .tiles > div { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.card { padding: 18px 20px; }
.failure { margin-top: 20px; border-color: rgb(var(--red) / 0.5); background: rgb(var(--red) / 0.07);
           overflow-wrap: anywhere; }
.failure b { color: rgb(var(--red)); }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin-top: 26px; }
.tiles > div { padding: 14px 16px 13px; min-width: 0; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { font-size: 24px; line-height: 1.25; font-weight: 620; letter-spacing: -0.01em;
            margin-top: 3px; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.tiles dd small { font-size: 14px; font-weight: 500; color: var(--soft); letter-spacing: 0; }
.tiles dd.mono { font-size: 17px; line-height: 30px; letter-spacing: 0; }
.tiles .first dd { color: rgb(var(--blue)); }
.two { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px; }
.two > :only-child, .two > .wide { grid-column: 1 / -1; }

.chart { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
         padding: 15px 18px 12px; min-width: 0; }
.chart figcaption { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 16px;
                    font-size: 13px; color: var(--soft); margin-bottom: 12px; }
.head { display: inline-flex; align-items: baseline; gap: 10px; margin-right: auto; }
.head b, .card > .head b { color: var(--ink); font-size: 15px; font-weight: 600; }
.key { display: inline-flex; align-items: center; gap: 7px; white-space: nowrap; }
.key i { width: 16px; height: 3px; border-radius: 2px; background: rgb(var(--hue)); }
.key i.faint { opacity: 0.35; }
.scale { font-size: 12px; border: 1px solid var(--line); border-radius: 5px; padding: 0 6px; }
.plot { display: grid; grid-template-columns: auto minmax(0, 1fr); font-size: 12px;
        color: var(--soft); padding-right: 10px; }
.plot .y { position: relative; width: 52px; }
.plot .y span { position: absolute; right: 9px; transform: translateY(-50%); line-height: 1; }
.plot .area { height: 230px; border-bottom: 1px solid var(--line); }
.square .plot .area { height: auto; aspect-ratio: 1; }
.wide .plot .area { height: 290px; }
.area > svg { display: block; width: 100%; height: 100%; overflow: visible; }
.plot .x { grid-column: 2; position: relative; height: 22px; }
.plot .x span { position: absolute; top: 6px; transform: translateX(-50%); line-height: 1; }
.plot .name { grid-column: 2; text-align: center; line-height: 1.2; padding-top: 2px; }
.y-name { font-size: 12px; color: var(--soft); padding-left: 52px; margin: -4px 0 8px; }
svg path { fill: none; vector-effect: non-scaling-stroke; }
.grid { stroke: var(--line); stroke-width: 1; }
.training { --hue: var(--blue); } .evaluation { --hue: var(--orange); }
.neutral { --hue: var(--violet); } .guide { --hue: var(--grey); }
.line { stroke: rgb(var(--hue)); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.faint { stroke-width: 1; opacity: 0.3; }
.line.guide { stroke-width: 1.5; stroke-dasharray: 5 5; }
.point { stroke: rgb(var(--hue)); stroke-width: 7; stroke-linecap: round; }
.square .point { stroke-width: 5; opacity: 0.65; }
.point:hover { stroke-width: 11; opacity: 1; }
.nothing { color: var(--soft); padding: 22px 0; text-align: center; }

.scroll { overflow-x: auto; }
.matrix { border-collapse: separate; border-spacing: 2px; font-size: 13px; width: 100%; }
.matrix th { font-weight: 500; color: var(--soft); padding: 2px 6px; white-space: nowrap; }
.matrix tbody th { text-align: right; }
.matrix .axis { font-size: 12px; font-weight: 500; color: var(--soft); }
.matrix td { min-width: 38px; height: 32px; text-align: center; border-radius: 5px; padding: 0 4px;
             background: rgb(var(--hue) / var(--a)); }
.matrix thead td { height: auto; }
.matrix .right { --hue: var(--blue); } .matrix .wrong { --hue: var(--red); }
.matrix .zero { background: rgb(var(--grey) / 0.07); color: rgb(var(--grey) / 0.55); }
.matrix .strong { color: var(--strong-text); font-weight: 600; }
.matrix .recall { background: none; color: var(--soft); text-align: right; padding-left: 10px;
                  white-space: nowrap; }
.many { width: auto; border-spacing: 1px; font-size: 0; } .many td { min-width: 11px; width: 11px; height: 11px;
        padding: 0; border-radius: 2px; } .many th, .many .recall { display: none; }
.note { color: var(--soft); font-size: 14px; margin-top: 12px; }
.note.above { margin: -8px 0 14px; }
.numbers { border-collapse: collapse; width: 100%; }
.numbers td, .numbers th { padding: 7px 0; border-top: 1px solid var(--line); text-align: left; }
.numbers th { font-weight: 500; color: var(--soft); padding-right: 16px; }
.numbers td { text-align: right; }
.numbers tr:first-child td, .numbers tr:first-child th { border-top: 0; }
.measured { display: grid; grid-template-columns: minmax(0, 2fr) minmax(220px, 1fr);
            gap: 14px; align-items: start; }
.measured .head { margin-bottom: 10px; }
.measured > :only-child { max-width: 540px; }
.halves { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.stack { display: grid; gap: 14px; min-width: 0; }

.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 12px; }
.example { border: 1px solid var(--line); border-radius: 10px; background: var(--card);
           overflow: hidden; font-size: 13px; line-height: 1.35; }
.example img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #000;
               image-rendering: pixelated; }
.example p { padding: 7px 10px 9px; }
.example b { display: block; font-size: 14px; font-weight: 600; overflow-wrap: anywhere; }
.example span { color: var(--soft); white-space: nowrap; }
.example.wrong { border-color: rgb(var(--red) / 0.65); box-shadow: 0 0 0 1px rgb(var(--red) / 0.65); }
.example.wrong b { color: rgb(var(--red)); }
.example.right b { color: rgb(var(--green)); }
.list { border-collapse: collapse; width: 100%; font-size: 14px; }
.list th { text-align: left; font-weight: 500; color: var(--soft); }
.list th, .list td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line);
                     white-space: nowrap; }
.list tr:last-child td { border-bottom: 0; }
.list .number { text-align: right; }
.list .wrong td:nth-child(2) { color: rgb(var(--red)); font-weight: 600; }
.list .features { color: var(--soft); font-size: 12px; }

.phases { display: flex; height: 26px; border-radius: 7px; overflow: hidden; gap: 2px;
          background: var(--line); }
.phases i { background: rgb(var(--hue)); }
.workers { display: grid; grid-template-columns: max-content 1fr; gap: 10px 16px; align-items: center; }
.workers span { color: var(--soft); font-size: 14px; }
.workers .phases { height: 16px; border-radius: 5px; }
.phases + .phase-keys, .card + .card { margin-top: 14px; }
.phase-keys { display: flex; flex-wrap: wrap; gap: 8px 28px; }
.phase-keys div { display: flex; align-items: baseline; gap: 8px; }
.phase-keys i { width: 10px; height: 10px; border-radius: 3px; background: rgb(var(--hue)); }
.phase-keys span { color: var(--soft); }
.forward { --hue: var(--blue); } .backward { --hue: var(--sky); } .exchange { --hue: var(--orange); } .data { --hue: var(--green); }
.update { --hue: var(--violet); } .checkpoint { --hue: var(--grey); }

details > summary { cursor: pointer; font-weight: 500; }
pre { margin: 14px 0 0; padding: 14px 16px; background: var(--code); border-radius: 8px;
      overflow-x: auto; font-size: 13px; line-height: 1.55; }
pre .section { color: rgb(var(--blue)); font-weight: 600; }
pre .comment { color: var(--soft); }
pre .value { color: rgb(var(--green)); }
footer { color: var(--soft); font-size: 13px; margin-top: 44px; }

@media (max-width: 760px) {
  main { padding: 24px 14px 40px; }
  h1 { font-size: 25px; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: 10px; }
  .tiles > div { padding: 12px 13px; }
  .tiles dd { font-size: 21px; }
  .tiles dd.mono { font-size: 14px; line-height: 26px; }
  .two, .measured, .halves { grid-template-columns: minmax(0, 1fr); }
  .card { padding: 14px; }
  .chart { padding: 13px 12px 10px; }
  .chart .head { width: 100%; }
  .plot .y { width: 46px; }
  .y-name { padding-left: 46px; }
  .plot .area, .wide .plot .area { height: 210px; }
  .matrix td { min-width: 27px; height: 27px; padding: 0 2px; }
  .matrix { font-size: 12px; border-spacing: 1px; } .matrix th { padding: 1px 3px; }
  .matrix .last, .matrix .recall.last { display: none; }
  .examples { grid-template-columns: repeat(auto-fill, minmax(84px, 1fr)); gap: 9px; }
}
@media print { body { background: #fff; } .card, .chart { break-inside: avoid; } }
)css";

}  // namespace lockstep
