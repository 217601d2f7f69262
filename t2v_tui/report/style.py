"""How a report looks: one column on paper and on a phone, runs beside each other where there is room."""

STYLE = """
:root { color-scheme: light dark; --line: #8884; --pale: #8882; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem; font: 15px/1.5 system-ui, sans-serif; }
header p, .nothing, .stamp { opacity: .7; }
h1 { margin: 0; overflow-wrap: anywhere; }
h2 { margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
h3 { margin: .6rem 0; overflow-wrap: anywhere; }
.beside { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); }
.beside > div { min-width: 0; }
.charts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); }
.charts svg { width: 100%; height: auto; border: 1px solid var(--line); border-radius: 6px; }
.charts text { font-size: 22px; }
figure { margin: 0; }
.strip { display: grid; gap: .6rem; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
.strip video { width: 100%; aspect-ratio: 1; object-fit: contain; background: #111; border-radius: 6px; }
.prompt { margin: .8rem 0 .3rem; font-weight: 600; overflow-wrap: anywhere; }
figcaption { font-size: .85rem; opacity: .7; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--pale); text-align: left; vertical-align: top;
  overflow-wrap: break-word; max-width: 30rem; }
th { font-weight: 500; opacity: .8; }
.stamp { display: inline-block; min-width: 12rem; font-size: .8rem; overflow-wrap: anywhere; }
.blind { color: #c2410c; }
.seen { color: #15803d; }
meter { width: 7rem; }
pre { overflow-x: auto; padding: .8rem; background: var(--pale); border-radius: 6px; font-size: .8rem; }
img { max-width: 100%; border-radius: 6px; }
summary { cursor: pointer; margin: .6rem 0; }
@media print { details > * { display: block; } }
"""
