module.exports = {
  mode: 'production',
  target: 'node',
  entry: './program.mjs',
  output: { path: `${__dirname}/webpack`, filename: 'program.cjs' },
  externals: [/^advisory-lock-native/],
  externalsType: 'commonjs',
}
