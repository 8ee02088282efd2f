"""A built page holds each text of its widgets once, and each widget's text is what it was."""

import json

from shared_scripts import slim

KIT = "const kit = 1;\nconst draw = 2;\n"
SCRIPTS = [KIT + "export default 1;\n", KIT + "export default 2;\n", KIT + "export default 1;\n"]


def saved(*states):
    models = {f"model-{i}": {"model_name": "AnyModel", "state": s} for i, s in enumerate(states)}
    return json.dumps({"version_major": 2, "state": models})


def texts_of(page):
    return [
        ["".join(page["texts"][i] for i in model["state"][name]) for name in ("_esm", "_css")]
        for model in page["state"].values()
        if "_esm" in model["state"]
    ]


def test_widgets_get_their_own_texts_back():
    states = [{"_esm": script, "_css": f"p {{ order: {i} }}"} for i, script in enumerate(SCRIPTS)]
    page = json.loads(slim(saved(*states, {"layout": None})))
    assert texts_of(page) == [[state["_esm"], state["_css"]] for state in states]
    assert page["state"]["model-3"]["state"] == {"layout": None}


def test_each_text_stands_once():
    text = slim(saved(*({"_esm": script, "_css": "p {}"} for script in SCRIPTS)))
    for part in ("const kit", "export default 1", "export default 2", "p {}"):
        assert text.count(part) == 1


def test_one_widget_alone_and_a_text_that_would_end_the_script():
    state = {"_esm": "add(root, '</script>');", "_css": "", "questions": ["</script><b>"]}
    text = slim(saved(state))
    assert "</" not in text
    page = json.loads(text)
    assert texts_of(page) == [[state["_esm"], ""]]
    assert page["state"]["model-0"]["state"]["questions"] == state["questions"]
