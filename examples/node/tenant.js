// Node's `pg` with kos: one transaction in one tenant. Copy this file.
//
//   const pool = new Pool()
//   const names = await withTenant(pool, 'acme', async (client) => {
//     const { rows } = await client.query('select name from atoms')
//     return rows.map((row) => row.name)
//   })
'use strict'

const { setTimeout: sleep } = require('node:timers/promises')

// Sets who is at work, and where the tenant's tables are, for this transaction only.
const ENTER = `select kos.enter($1, epoch => $2, persona => $3, user_id => $4)`

// The tenant has moved; serialization failure; deadlock. In each of them nothing happened, so it may run again.
const RETRYABLE = new Set(['KS003', '40001', '40P01'])

/**
 * Run `work` in one transaction in one tenant: committed when it resolves, rolled back when it rejects, and run again
 * from its start where the database says so. So what it does outside of the database must stand repetition.
 *
 * `epoch` is a function, asked for every attempt: what you believe of the tenant's placement. Without it the database
 * is believed.
 */
async function withTenant(pool, tenant, work, { epoch = () => null, persona, user, attempts = 4 } = {}) {
  if (!tenant) throw new TypeError('no tenant is named')
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(pool, [tenant, await epoch(), persona, user], work)
    } catch (error) {
      // A lost connection has no SQLSTATE: whether it committed is not known, so it is never repeated.
      if (!RETRYABLE.has(error.code) || attempt >= attempts) throw error
    }
    await sleep(Math.random() * 20 * 2 ** attempt)
  }
}

async function once(pool, entry, work) {
  const client = await pool.connect()
  let open = true
  let broken
  // The server ends a transaction that lasts too long, and with it the connection. Without a listener that would end
  // this program too.
  const lost = (error) => { broken = error }
  client.on('error', lost)
  // What `work` gets is closed at the end. A query that was not awaited, sent later, would otherwise run in whatever
  // transaction the pooled client is in by then: maybe another tenant's.
  const session = {
    query(...statement) {
      if (!open) throw new Error('this transaction is over: await every query inside of withTenant')
      return client.query(...statement)
    },
  }
  try {
    await client.query('begin')
    await client.query(ENTER, entry)
    const result = await work(session)
    open = false
    // PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK, and no error.
    const { command } = await client.query('commit')
    if (command !== 'COMMIT') throw new Error('rolled back: a statement failed, and its error was not passed on')
    return result
  } catch (error) {
    open = false
    await client.query('rollback').catch(lost)
    throw error
  } finally {
    client.off('error', lost)
    client.release(broken) // what was lost must not go back to the pool
  }
}

module.exports = { withTenant }
