import assert from 'node:assert/strict';
import { test } from 'node:test';
import { python } from '@codemirror/lang-python';
import { EditorState } from '@codemirror/state';
import { renamed, renamedBelow } from '../src/renaming';

/** The text with the name at its first `«f»` renamed to `g`; null where that is not offered. */
function fixed(marked: string): string | null {
  const from = marked.indexOf('«');
  const to = marked.indexOf('»') - 1;
  const doc = marked.replace('«', '').replace('»', '');
  const state = EditorState.create({ doc, extensions: [python()] });
  const changes = renamed(state, { from, to }, 'g');
  return changes && state.update({ changes }).state.doc.toString();
}

test('what follows means the new name, what stands before the old one', () => {
  assert.equal(
    fixed('def r(x): return f(x)\n«f» = vmap(f)\ny = f(x)\nprint(f)'),
    'def r(x): return f(x)\ng = vmap(f)\ny = g(x)\nprint(g)'
  );
});

test('below the magic too, which is no Python', () => {
  assert.equal(
    fixed('%%vjpcheck\nimport jax\n«f» = jax.vmap(f)\nf(x)'),
    '%%vjpcheck\nimport jax\ng = jax.vmap(f)\ng(x)'
  );
});

test('texts, comments, attributes and the names of parameters stay', () => {
  const rest = 'x.f\ncall(f=1)\n"f"\n# f';
  assert.equal(fixed(`«f» = vmap(f)\n${rest}`), `g = vmap(f)\n${rest}`);
  assert.equal(fixed('«f» = vmap(f)\ncall(f=f)'), 'g = vmap(f)\ncall(f=g)');
});

test('a name that is bound again means something else from there on', () => {
  assert.equal(
    fixed('«f» = vmap(f)\nf = jit(f)\nf(x)'),
    'g = vmap(f)\nf = jit(g)\nf(x)'
  );
  assert.equal(
    fixed('«f» = vmap(f)\nf(x)\ndef f(x): pass\nf(x)'),
    'g = vmap(f)\ng(x)\ndef f(x): pass\nf(x)'
  );
  assert.equal(
    fixed('«f» = vmap(f)\nf(x)\n@d\ndef f(x): pass\nf(x)'),
    'g = vmap(f)\ng(x)\n@d\ndef f(x): pass\nf(x)'
  );
});

test('a name of a function ends with the function', () => {
  assert.equal(
    fixed('def h(f):\n    «f» = vmap(f)\n    return f(1)\nf(2)'),
    'def h(f):\n    g = vmap(f)\n    return g(1)\nf(2)'
  );
});

test('no fix is offered where it is not certain', () => {
  assert.equal(fixed('for i in x:\n    «f» = vmap(f)'), null);
  assert.equal(fixed('if x:\n    «f» = vmap(f)\nf(x)'), null);
  assert.equal(fixed('«m.f» = vmap(m.f)'), null);
  assert.equal(fixed('call(«f»)'), null);
});

test('nor where some inner part has the same name for something of its own', () => {
  for (const below of [
    'def h(f): return f',
    'y = lambda f: f',
    'def h():\n    f = 1\nf(x)',
    'if x:\n    f = 1\nf(x)',
    'class C:\n    f = 1',
    'class C:\n    def f(self): pass',
    'def h():\n    global f',
    'from m import f'
  ]) {
    assert.equal(fixed(`«f» = vmap(f)\n${below}`), null, below);
  }
  assert.equal(
    fixed('«f» = vmap(f)\ndef h(x=f): return f(x)'),
    'g = vmap(f)\ndef h(x=g): return g(x)'
  );
});

/** A cell below with `f` renamed to `g`, and whether the next cell means the same; null where it cannot be told. */
function below(text: string): [string, boolean] | null {
  const found = renamedBelow(text, python(), { old: 'f', name: 'g' });
  const state = EditorState.create({ doc: text });
  return (
    found && [
      state.update({ changes: found.changes }).state.doc.toString(),
      found.goesOn
    ]
  );
}

test('a cell below means the new name, up to where the old one is bound again', () => {
  assert.deepEqual(below('y = f(x)\ndef loss(x): return f(x).mean()'), [
    'y = g(x)\ndef loss(x): return g(x).mean()',
    true
  ]);
  assert.deepEqual(below('y = f(x)\nf = jit(f)\nf(x)'), [
    'y = g(x)\nf = jit(g)\nf(x)',
    false
  ]);
  assert.deepEqual(below('def f(x): pass\nf(x)'), [
    'def f(x): pass\nf(x)',
    false
  ]);
  assert.deepEqual(below('%time f(x)'), ['%time g(x)', true]);
  assert.deepEqual(below('f, a = f(x), 2'), ['f, a = g(x), 2', false]);
  assert.deepEqual(below('[f(y) for y in f(x)]'), [
    '[g(y) for y in g(x)]',
    true
  ]);
});

test('where a cell below may mean something else nothing is renamed', () => {
  assert.equal(below('def h(f): return f(1)'), null);
  assert.equal(below('for f in fs: f(x)'), null);
  assert.equal(below('for i, f in fs: f(x)'), null);
  assert.equal(below('[f(x) for f in fs]'), null);
  assert.equal(below('with a as f: f(x)'), null);
  assert.equal(below('f += 1'), null);
  assert.equal(below('y = (f := 3)'), null);
  assert.equal(below('if x:\n    f = jit(f)\nf(x)'), null);
});
