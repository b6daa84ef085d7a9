test('each registry of modules has a package of its own', async () => {
  for (let index = 0; index < 3; index++) {
    jest.resetModules()
    await require('../body.cjs')(`jest registry ${index}`)
  }
  await jest.isolateModulesAsync(() => require('../body.cjs')('jest isolated'))
})
