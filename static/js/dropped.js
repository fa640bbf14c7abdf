// What was dropped on the page, as files; folders are walked for the music in them.

/** Takes what it needs from the event at once: browsers empty it as soon as its handler returns. */
export function dropped(event, accept) {
  const files = [];
  const folders = [];
  for (const item of event.dataTransfer.items) {
    const entry = item.webkitGetAsEntry?.();
    if (entry?.isDirectory) folders.push(entry);
    else if (item.kind === "file") files.push(item.getAsFile());
  }
  return { files, folders: folders.map((folder) => ({ name: folder.name, files: music(folder, accept) })) };
}

/** The files below a folder that the chooser would offer; without those in it that cannot be read. */
async function music(folder, accept) {
  const found = [];
  for (const entry of await entries(folder)) {
    if (entry.isDirectory) found.push(...(await music(entry, accept).catch(() => [])));
    else found.push(await new Promise((resolve) => entry.file(resolve, () => resolve(null))));
  }
  return found.filter((file) => file && isAccepted(file, accept));
}

/** A reader hands out a hundred at a time, and none when it has no more. */
async function entries(folder) {
  const reader = folder.createReader();
  const all = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return all;
    all.push(...some);
  }
}

function isAccepted(file, accept) {
  const name = file.name.toLowerCase();
  return accept.split(",").some((kind) => (kind.startsWith(".") ? name.endsWith(kind) : file.type.startsWith(kind.replace("*", ""))));
}
