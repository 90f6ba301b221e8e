def render_html(r):
    return ""
