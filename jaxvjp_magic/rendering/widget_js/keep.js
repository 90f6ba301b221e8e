// Save a report's state with its notebook. JupyterLab and Notebook save widgets only if a setting says so, and show
// "model not found" in a reopened notebook. A report is small and bounded; it is removed when its output is gone.

const STATE = "application/vnd.jupyter.widget-state+json";
const VIEW = "application/vnd.jupyter.widget-view+json";
const OURS = /^jaxvjp_magic\./;

export async function keepWithNotebook(model) {
  const manager = model.widget_manager;
  const notebook = manager?.context?.model;
  if (!notebook?.setMetadata || !notebook.cells) return; // another front end: it has its own way
  const id = model.get("report").id;
  const state = savedState(notebook);
  if (state[id]) return;
  const own = await manager.get_model(id);
  for (const part of [own, own.get("layout")]) {
    state[part.model_id] = {
      model_name: part.name,
      model_module: part.module,
      model_module_version: part.get("_model_module_version"),
      state: part.serialize(part.get_state(true)),
    };
  }
  save(notebook, withoutGone(notebook, state));
  if (manager.vjpcheckPrunes) return;
  manager.vjpcheckPrunes = true;
  manager.context.saveState.connect((_, when) => {
    if (when !== "started") return;
    const before = savedState(notebook);
    const after = withoutGone(notebook, before);
    if (Object.keys(after).length < Object.keys(before).length) save(notebook, after);
  });
}

function savedState(notebook) {
  return { ...notebook.getMetadata("widgets")?.[STATE]?.state };
}

function save(notebook, state) {
  const saved = { version_major: 2, version_minor: 0, state };
  if (Object.keys(state).length)
    notebook.setMetadata("widgets", { ...notebook.getMetadata("widgets"), [STATE]: saved });
  else notebook.deleteMetadata("widgets");
}

/** The state without reports that no output of the notebook shows any more, and without their layouts. */
function withoutGone(notebook, state) {
  const shown = new Set();
  for (const cell of notebook.cells) {
    for (let i = 0; i < (cell.outputs?.length ?? 0); i++) shown.add(String(cell.outputs.get(i).data[VIEW]?.model_id));
  }
  const gone = new Set();
  for (const [id, entry] of Object.entries(state)) {
    if (!OURS.test(entry.state._anywidget_id) || shown.has(id)) continue;
    gone.add(id).add(entry.state.layout.replace("IPY_MODEL_", ""));
  }
  return Object.fromEntries(Object.entries(state).filter(([id]) => !gone.has(id)));
}
