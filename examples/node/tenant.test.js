// Run by tests/stores/test_recipes.py, which makes the tenants of TENANTS (names, two of each tier, separated by commas)
// and says in PG* variables where the database is: directly or behind a pooler. The operator connects directly.
'use strict'

const assert = require('node:assert/strict')
const { after, before, test } = require('node:test')
const { Client, Pool } = require('pg')

const { withTenant } = require('./tenant.js')

const TENANTS = process.env.TENANTS.split(',')
const [ACME, OTHER] = TENANTS
const INSERT = "insert into atoms (atom_type, name) values ('T', $1)"

// One connection: whatever a transaction left behind, the next one would meet.
const pool = new Pool({ max: 1 })
const operator = new Client({
  user: 'kos_operator',
  password: process.env.KOS_OPERATOR_PASSWORD,
  port: Number(process.env.KOS_OPERATOR_PORT),
})

const names = async (session) => (await session.query('select name from atoms order by name')).rows.map((row) => row.name)
const pid = async (session) => (await session.query('select pg_backend_pid() as pid')).rows[0].pid
const nothingLeft = async () => {
  const { rows } = await pool.query(
    "select coalesce(current_setting('kos.tenant_id', true), '') as tenant, current_setting('search_path') as path"
  )
  assert.deepEqual(rows, [{ tenant: '', path: '"$user", public' }])
  await assert.rejects(pool.query('select name from knowledge.atoms'), { code: 'KS001' })
}

before(() => operator.connect())
after(async () => {
  await pool.end()
  await operator.end()
})

test('one pooled connection serves all tenants, and none sees rows of another', async () => {
  const pids = new Set()
  for (let round = 0; round < 8; round++) {
    for (const tenant of TENANTS) {
      await withTenant(pool, tenant, async (session) => {
        await session.query(INSERT, [tenant])
        pids.add(await pid(session))
      })
    }
  }
  for (const tenant of TENANTS) {
    assert.deepEqual(await withTenant(pool, tenant, names), Array(8).fill(tenant))
  }
  assert.equal(pids.size, 1)
  await nothingLeft()
})

test('the entry alone, in autocommit mode, enters nothing', async () => {
  await pool.query("select kos.enter($1)", [ACME])
  await nothingLeft()
})

test('a stale epoch is refused, and the next attempt looks it up again', async () => {
  const { rows: [{ id }] } = await operator.query('select tenant_id as id from kos.tenants where name = $1', [OTHER])
  const { rows: [{ risen }] } = await operator.query('select kos.advance_epoch($1) as risen', [id])
  const believed = [risen - 1, risen - 1, risen]
  let runs = 0
  const answer = await withTenant(pool, OTHER, async () => ++runs, { epoch: () => believed.shift() })
  assert.equal(answer, 1, 'work runs inside only')
  assert.deepEqual(believed, [])
  await assert.rejects(withTenant(pool, OTHER, names, { epoch: () => risen - 1, attempts: 2 }), { code: 'KS003' })
  await nothingLeft()
})

test('a serialization failure runs the whole transaction again, up to the limit', async () => {
  let runs = 0
  const failing = async (session) => {
    runs++
    await session.query(INSERT, ['doubled?'])
    await session.query("do $$ begin raise 'again' using errcode = '40001'; end $$")
  }
  await assert.rejects(withTenant(pool, ACME, failing, { attempts: 3 }), { code: '40001' })
  assert.equal(runs, 3)
  assert.ok(!(await withTenant(pool, ACME, names)).includes('doubled?'))
})

test('an unknown tenant, and none, are told', async () => {
  await assert.rejects(withTenant(pool, 'nobody', names), { code: 'KS002', message: /there is no tenant nobody/ })
  await assert.rejects(withTenant(pool, '', names), { name: 'TypeError', message: 'no tenant is named' })
  await nothingLeft()
})

test('what fails is rolled back, also where its error was kept', async () => {
  await assert.rejects(withTenant(pool, ACME, async (session) => {
    await session.query(INSERT, ['failed'])
    throw new Error('mine')
  }), { message: 'mine' })
  await assert.rejects(withTenant(pool, ACME, async (session) => {
    await session.query(INSERT, ['failed'])
    await session.query('select 1/0').catch(() => {})
  }), { message: /rolled back/ })
  assert.ok(!(await withTenant(pool, ACME, names)).includes('failed'))
  await nothingLeft()
})

test('a session is refused after its transaction, when its client may be in another tenant', async () => {
  let kept
  await withTenant(pool, ACME, async (session) => { kept = session })
  await withTenant(pool, OTHER, async () => {
    assert.throws(() => kept.query('select name from atoms'), { message: /this transaction is over/ })
  })
})

test('a connection that the server ends between two statements is replaced', async () => {
  let ended
  await assert.rejects(withTenant(pool, ACME, async (session) => {
    ended = await pid(session)
    await operator.query('select pg_terminate_backend($1, 5000)', [ended])
    await names(session)
  }))
  assert.notEqual(await withTenant(pool, ACME, pid), ended)
})

test('a connection that is still busy with a statement given up does not go back to the pool', async () => {
  const impatient = new Pool({ max: 1, query_timeout: 600 })
  await assert.rejects(withTenant(impatient, ACME, async (session) => {
    await session.query(INSERT, ['given up'])
    await session.query('select pg_sleep(1.5)')
  }), { message: 'Query read timeout' })
  // Its rollback timed out as well and was never sent, so the connection is still in that transaction.
  assert.ok(!(await withTenant(impatient, ACME, names)).includes('given up'))
  await impatient.end()
})
