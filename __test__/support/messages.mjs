// Messages of PostgreSQL's protocol, as a server sends them (manual, section 54.7).

export const message = (type, body) => {
  const head = Buffer.alloc(5, type)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}
export const authentication = (method, more = Buffer.alloc(0)) => {
  const body = Buffer.alloc(4)
  body.writeInt32BE(method)
  return message('R', Buffer.concat([body, more]))
}
export const field = (name, value) => Buffer.from(`${name}${value}\0`)
export const zero = Buffer.alloc(1)
export const ready = message('Z', Buffer.from('I'))
