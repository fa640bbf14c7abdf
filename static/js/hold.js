// One tab at a time: what is held here is held in no other tab until it is let go or the page is closed.

/** Resolves to the function that lets `name` go; to null when it is held already.
 *  Browsers have no locks for pages over plain HTTP: there, everyone gets it. */
export function hold(name) {
  if (!navigator.locks) return Promise.resolve(() => {});
  return new Promise((resolve) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      if (!lock) return resolve(null);
      return new Promise((letGo) => resolve(letGo));
    });
  });
}
