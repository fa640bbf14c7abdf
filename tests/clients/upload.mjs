// Uploads a file with tus-js-client as it is: `node upload.mjs ENDPOINT TOKEN FILE PAUSES PIECE`, in pieces of PIECE bytes.
// Aborts and resumes PAUSES times on the way; prints the upload's address.
import { createReadStream, statSync } from 'node:fs'
import * as tus from 'tus-js-client'

const [endpoint, token, file, pauses, piece] = process.argv.slice(2)
const size = statSync(file).size
let left = Number(pauses)

const upload = new tus.Upload(createReadStream(file), {
  endpoint,
  headers: { Authorization: `Bearer ${token}` },
  chunkSize: Number(piece),
  uploadSize: size,
  retryDelays: [0, 200, 500, 1000, 2000, 3000],
  metadata: { filename: 'from-node.wav', filetype: 'audio/wav' },
  onError: (error) => {
    console.error(String(error))
    process.exit(1)
  },
  onSuccess: () => console.log(upload.url),
  onChunkComplete: async (_, accepted) => {
    if (left > 0 && accepted < size) {
      left -= 1
      await upload.abort()
      upload.start()
    }
  },
})
upload.start()
