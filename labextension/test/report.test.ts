import assert from 'node:assert/strict';
import { test } from 'node:test';
import { problemIn } from '../src/kernel';
import { lineIn } from '../src/links';
import { cellOf, findLine, marksOf, rangeIn } from '../src/places';
import { causesOf, IFinding, MIME_TYPE, reportIn } from '../src/report';
import { summaryOf } from '../src/summary';

const NAME: IFinding = {
  code: 'NAM201',
  severity: 'error',
  line: 2,
  source: 'In[1]',
  cause_of: [1]
};
const SHAPE: IFinding = { code: 'VJP101', severity: 'error', line: 1 };
const NOTE: IFinding = { code: 'RES402', severity: 'note' };

function output(...findings: unknown[]): unknown {
  return { 'text/plain': '', [MIME_TYPE]: { schema: 1, findings } };
}

function cell(id: string, count: number | null, ...outputs: unknown[]) {
  return { id, count, text: '', outputs };
}

test('outputs that are no report of schema 1 are left alone', () => {
  const others = [
    null,
    'text',
    {},
    { [MIME_TYPE]: null },
    { [MIME_TYPE]: { schema: 2, findings: [] } },
    { [MIME_TYPE]: { schema: 1 } }
  ];
  assert.deepEqual(others.map(reportIn), Array(others.length).fill(null));
});

test('findings of a kind that is not known are left out', () => {
  const report = reportIn(output(NAME, { code: 'NEW999' }, null, 3));
  assert.deepEqual(report?.findings, [NAME]);
});

test('a mark is in the cell that the finding names, or in the cell of the report', () => {
  const marks = marksOf([
    cell('rules', 1),
    cell('use', 2, {}, output(NAME, SHAPE, NOTE))
  ]);
  assert.deepEqual(marks.get('rules'), [
    { finding: NAME, line: 2, causes: [] }
  ]);
  assert.deepEqual(marks.get('use'), [
    { finding: SHAPE, line: 1, causes: ['NAM201'] }
  ]);
});

test('of two cells with one number, which a restart makes, the one that has the line', () => {
  const snippet = { line: 2, text: 'f = vmap(f)' };
  const finding = { ...NAME, snippet };
  const stale = { ...cell('stale', 1), text: '1 + 1' };
  const rules = { ...cell('rules', 1), text: '# moved\n\nf = vmap(f)' };
  const use = cell('use', 2, output(finding));
  const marks = marksOf([stale, rules, use]);
  assert.deepEqual([...marks.keys()], ['rules']);
  const source = 'In[1]';
  assert.equal(cellOf({ source }, use, [stale, rules, use], snippet), rules);
  assert.equal(cellOf({ source }, use, [stale, rules, use]), stale);
});

test('a cell that has run again has another number, and no marks of earlier reports', () => {
  const marks = marksOf([cell('rules', 3), cell('use', 2, output(NAME))]);
  assert.equal(marks.size, 0);
});

test('of two marks that say the same, the worse is shown', () => {
  const warning: IFinding = { ...NAME, severity: 'warning', source: '' };
  const cells = [
    cell('rules', 1, output(warning)),
    cell('use', 2, output(NAME))
  ];
  for (const order of [cells, [...cells].reverse()]) {
    const marks = marksOf(order).get('rules');
    assert.deepEqual(
      marks?.map(mark => mark.finding.severity),
      ['error']
    );
  }
});

test('places in files are in no cell', () => {
  const own = cell('use', 2);
  assert.equal(cellOf({ source: '/home/me/rules.py' }, own, [own]), null);
  assert.equal(cellOf({ source: 'In[9]' }, own, [own]), null);
  assert.equal(cellOf({ source: '' }, own, []), own);
});

test('the causes of a finding are named once', () => {
  const findings = [NAME, SHAPE, NAME];
  assert.deepEqual(causesOf({ schema: 1, findings }, 1), ['NAM201']);
  assert.deepEqual(causesOf({ schema: 1, findings }, 0), []);
});

test('a line is found where it stands now', () => {
  const snippet = { line: 2, text: '    return x' };
  const lines = ['    return x', 'def f(x):', '', '    return x  '];
  assert.equal(findLine(lines, 1, snippet), 0);
  assert.equal(findLine(lines, 3, snippet), 3);
  assert.equal(findLine(lines, 2, snippet), 0);
  assert.equal(findLine(['return y'], 1, snippet), -1);
  assert.equal(findLine(['a', 'b'], 2, undefined), 1);
  assert.equal(findLine(['a', 'b'], 3, undefined), -1);
});

test('a range counts characters as the editor does', () => {
  const text = '  s = "🎲🎲"; f = vmap(f)';
  const start = Array.from(text).indexOf('f');
  const range = rangeIn(text, { line: 1, text, start, end: start + 1 });
  assert.equal(text.slice(range.from, range.to), 'f');
  assert.deepEqual(rangeIn('  f(x)  ', undefined), { from: 2, to: 6 });
  assert.deepEqual(rangeIn('   ', undefined), { from: 3, to: 3 });
});

test('a summary has the cells that ran and have findings', () => {
  const cells = [
    cell('clean', 1, output()),
    cell('use', 2, output(NAME, SHAPE, NOTE)),
    cell('stale', 3, output(NAME))
  ];
  assert.deepEqual(summaryOf(cells, new Set(['clean', 'use'])), [
    {
      cell: 'use',
      number: 2,
      counts: { error: 2, warning: 0, note: 1 },
      first: NAME
    }
  ]);
});

test('a kernel says what it does not have, or what is wrong', () => {
  const failed = (ename: string, evalue: string) =>
    problemIn({ status: 'error', ename, evalue });
  assert.equal(problemIn({ status: 'ok', data: {} }), null);
  assert.equal(
    failed('ModuleNotFoundError', "No module named 'jaxvjp_magic.notebook'")
      ?.missing,
    'jaxvjp_magic'
  );
  const usage = failed('UsageError', 'unrecognized arguments: --x');
  assert.equal(usage?.missing, '');
  assert.equal(usage.message, 'unrecognized arguments: --x');
  assert.equal(usage.kind, 'UsageError');
  assert.equal(problemIn(undefined)?.message, '');
});

test('a button says a line, and nothing else is taken from it', () => {
  assert.deepEqual(lineIn({ line: 3, source: 'In[1]', cell: 'a', x: 1 }), {
    line: 3,
    source: 'In[1]',
    cell: 'a'
  });
  assert.deepEqual(lineIn({ line: 3, source: 4, cell: null }), { line: 3 });
  for (const args of [{}, { line: 0 }, { line: 1.5 }, { line: '3' }, []]) {
    assert.equal(lineIn(args), null);
  }
});
