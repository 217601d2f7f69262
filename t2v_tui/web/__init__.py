"""The web page: `t2v web`. Gradio and what it brings are imported only when the page is served."""
