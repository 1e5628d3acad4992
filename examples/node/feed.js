// A consumer of `kos feed serve`, with nothing but fetch. Copy this file.
//
//   await follow({ address: 'http://127.0.0.1:9568', feed: 'search', token, tenant: 'acme' }, async (events) => {
//     await index.store(events) // one whole transaction
//   })
'use strict'

/**
 * Give each transaction of a tenant to `store`, in order, and say so once it has resolved. Whoever is killed in between
 * gets that transaction again: what `store` does must stand repetition; `event.position` names an event for ever.
 *
 * Rejects where the server ends (run it again), where another consumer of the feed was first (409), and where the
 * database was restored to a moment before what this consumer has stored (410).
 */
async function follow({ address, feed, token, tenant, forever = true }, store) {
  const base = `${address}/feeds/${feed}/tenants/${encodeURIComponent(tenant)}`
  const ask = async (page, method = 'GET') => {
    const answer = await fetch(`${base}/${page}`, { method, headers: { authorization: `Bearer ${token}` } })
    if (!answer.ok) throw new Error(`${method} ${page}: ${answer.status} ${await answer.text()}`)
    return answer
  }
  let transaction = []
  for await (const event of lines((await ask(`events?follow=${forever}`)).body)) {
    if (event.type === 'heartbeat') continue
    if (event.type === 'error') throw new Error(event.error)
    transaction.push(event)
    if (!event.ends_transaction) continue
    await store(transaction)
    const said = { at: transaction[0].position - 1, position: event.position, leaf: event.leaf }
    await ask(`done?${new URLSearchParams(said)}`, 'POST')
    transaction = []
  }
}

/** The objects of a stream that has one per line. Reads no faster than they are taken. */
async function* lines(body) {
  let rest = ''
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split('\n')
    rest = parts.pop()
    for (const part of parts) yield JSON.parse(part)
  }
}

module.exports = { follow }
