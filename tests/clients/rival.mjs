// @tus/server as it is, over a folder: `node rival.mjs PORT FOLDER`. The uploads benchmark runs it beside Stemsite.
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [port, directory] = process.argv.slice(2)
const server = new Server({ path: '/files', datastore: new FileStore({ directory }), relativeLocation: true })
server.listen({ host: '127.0.0.1', port: Number(port) }, () => console.log('ready'))
