// The widget's JavaScript, which Python ships as it is. Run from the repository's root.
import js from '@eslint/js';

const BROWSER = [
  'console',
  'document',
  'getComputedStyle',
  'NodeFilter',
  'DOMParser',
  'getSelection',
  'navigator',
  'requestAnimationFrame',
  'cancelAnimationFrame',
  'ResizeObserver',
  'setTimeout',
  'clearTimeout',
  'window',
  'CSS'
];

export default [
  js.configs.recommended,
  {
    languageOptions: {
      ecmaVersion: 2022,
      sourceType: 'module',
      globals: Object.fromEntries(BROWSER.map(name => [name, 'readonly']))
    },
    rules: {
      eqeqeq: 'error',
      'no-var': 'error',
      'no-shadow': 'error',
      'prefer-const': ['error', { destructuring: 'all' }]
    }
  }
];
