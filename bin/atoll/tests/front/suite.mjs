// Runs npm `http-cache-tests` against the proxy at a URL, as its command line does, and prints each test's kind and verdict, by the
// suite's own rules: `node suite.mjs PACKAGE URL`.

import { createRequire } from 'node:module'

const [folder, base] = process.argv.slice(2)
const load = (name) => import(`${folder}/${name}`)
const { runTests, getResults } = await load('client/runner.mjs')
const display = await load('lib/display.mjs')
const tests = (await load('tests/index.mjs')).default
const fetch = createRequire(`${folder}/package.json`)('node-fetch')

const verdicts = { '✅': 'pass', '⛔️': 'fail', '⚠️': 'fail', Y: 'yes', N: 'no', '🔹': 'setup', '⁉️': 'harness', '⚪️': 'depends', '↻': 'retry', '-': 'untested' }
await runTests(tests, fetch, false, base)
const results = getResults()
const found = tests.flatMap((suite) => suite.tests).filter((test) => !test.browser_only).map((test) => {
  const said = results[test.id]
  const verdict = verdicts[display.determineTestResult(tests, test.id, results)[2]]
  return { id: test.id, kind: test.kind ?? 'required', verdict, said: Array.isArray(said) ? said[1] : '' }
})
console.log(JSON.stringify(found))
process.exit(0)
