// Which host answers: that of the component, the fake one of a test, or none.
//
// A host has one function for each function of the WIT imports; `component.js` and `fake.js` have one
// each. Octets are `Uint8Array`, what is sent may be a string as well, and what is absent is `undefined`.

const ABSENT = new Proxy(
  {},
  {
    get(_, name) {
      if (typeof name === "symbol") return undefined;
      throw new Error(
        `the host is asked for \`${name}\` outside of a call: a module is evaluated when the component ` +
          "is built; ask within a method or within onStart, and in a test within a `Host`",
      );
    },
  },
);

let current = ABSENT;

/** The host that answers. */
export function host() {
  return current;
}

/** Whether there is one. */
export function hasHost() {
  return current !== ABSENT;
}

/** Puts a host in place, `undefined` for none, and gives the one before. */
export function putHost(next) {
  const before = current === ABSENT ? undefined : current;
  current = next ?? ABSENT;
  return before;
}
