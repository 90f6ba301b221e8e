/**
 * The fix for an overwritten name: another name, from the statement that overwrites it to the end
 * of what sees it.
 */
import { ensureSyntaxTree } from '@codemirror/language';
import type { EditorState } from '@codemirror/state';
import { IFinding } from './report';
import { IRange } from './places';

const LONGEST_PARSE = 500; // milliseconds
const FIX = /^keep the original name: {2}([\p{L}_][\p{L}\p{N}_]*) = /u;
const LOOPS = ['ForStatement', 'WhileStatement'];
const DEFINITIONS = ['FunctionDefinition', 'ClassDefinition'];

/** A part of the text, and what stands there instead. */
export interface IChange extends IRange {
  insert: string;
}

/** The other name that a finding proposes; null where its fix is another one. */
export function newName(finding: IFinding): string | null {
  return FIX.exec(finding.fix ?? '')?.[1] ?? null;
}

/**
 * The changes that give the name at `range`, which a statement overwrites, another name.
 *
 * What follows the statement meant what the statement made; what stands before it, the function's
 * rules above all, meant the function. Null where that cannot be told: in a loop, for an
 * attribute, where the text does not parse.
 */
export function renamed(
  state: EditorState,
  range: IRange,
  name: string
): IChange[] | null {
  const old = state.sliceDoc(range.from, range.to);
  const tree = ensureSyntaxTree(state, state.doc.length, LONGEST_PARSE);
  const target = tree?.resolveInner(range.from, 1);
  const statement = target?.parent;
  if (
    !tree ||
    !target ||
    target.name !== 'VariableName' ||
    target.to !== range.to ||
    statement?.name !== 'AssignStatement'
  ) {
    return null;
  }
  let scope = statement.parent;
  while (scope && !DEFINITIONS.includes(scope.name) && scope.parent) {
    if (LOOPS.includes(scope.name)) {
      return null;
    }
    scope = scope.parent;
  }
  const changes = [{ ...range, insert: name }];
  let end = scope?.to ?? state.doc.length;
  tree.iterate({
    from: statement.to,
    to: end,
    enter: node => {
      const isOld =
        node.name === 'VariableName' &&
        node.from >= statement.to &&
        state.sliceDoc(node.from, node.to) === old;
      if (!isOld || node.from >= end) {
        return;
      }
      const parent = node.node.parent;
      const next = node.node.nextSibling;
      if (parent?.name === 'ArgList' && next?.name === 'AssignOp') {
        return; // f(name=...): the name of a parameter
      }
      if (parent && DEFINITIONS.includes(parent.name)) {
        end = node.from; // defined again: from here on the name means that
        return;
      }
      if (parent?.name === 'AssignStatement' && next?.name === 'AssignOp') {
        end = parent.to; // overwritten again: the value still means ours
        return;
      }
      changes.push({ from: node.from, to: node.to, insert: name });
    }
  });
  return changes;
}
