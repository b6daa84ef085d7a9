import js from '@eslint/js'
import globals from 'globals'

export default [
  { ignores: ['target/', '**/*.ts'] },
  js.configs.recommended,
  {
    languageOptions: { ecmaVersion: 2024, globals: globals.node },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: 'error',
      'no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
      'no-var': 'error',
      'prefer-const': 'error',
      'no-shadow': 'error',
    },
  },
  { files: ['index.js', 'v1.js', 'v2.js', 'bin/**/*.js', 'lib/**/*.js', '**/*.cjs'], languageOptions: { sourceType: 'commonjs' } },
  {
    files: ['__test__/runners/**'],
    languageOptions: { globals: { ...globals.jest, ...globals.mocha } },
  },
  { files: ['__test__/runners/jest/*.js'], languageOptions: { sourceType: 'commonjs' } },
]
