// Promises whose jobs can be run from JavaScript. The engine of a synchronous component never runs the
// jobs of its own promises, so that `async` functions are compiled to generators and these promises.

const PENDING = 0;
const FULFILLED = 1;
const REJECTED = 2;

let jobs = [];
let nextJob = 0;

/** Puts a job behind those that wait. */
export function enqueue(job) {
  jobs.push(job);
}

/** Runs jobs until none waits. */
export function runJobs() {
  while (nextJob < jobs.length) {
    const job = jobs[nextJob++];
    if (nextJob === 1024) {
      jobs = jobs.slice(nextJob);
      nextJob = 0;
    }
    job();
  }
  jobs = [];
  nextJob = 0;
}

export class Promise {
  #state = PENDING;
  #value = undefined;
  #waiting = [];

  constructor(executor) {
    if (typeof executor !== "function") throw new TypeError("the executor of a promise is a function");
    const { resolve, reject } = this.#settlers();
    try {
      executor(resolve, reject);
    } catch (error) {
      reject(error);
    }
  }

  /** Two functions of which the first call counts. */
  #settlers() {
    let isSettled = false;
    const once = (settle) => (value) => {
      if (isSettled) return;
      isSettled = true;
      settle(value);
    };
    return {
      resolve: once((value) => this.#resolve(value)),
      reject: once((error) => this.#settle(REJECTED, error)),
    };
  }

  #resolve(value) {
    if (value === this) return this.#settle(REJECTED, new TypeError("a promise cannot be resolved with itself"));
    if (value === null || (typeof value !== "object" && typeof value !== "function")) return this.#settle(FULFILLED, value);
    let then;
    try {
      then = value.then;
    } catch (error) {
      return this.#settle(REJECTED, error);
    }
    if (typeof then !== "function") return this.#settle(FULFILLED, value);
    const { resolve, reject } = this.#settlers();
    enqueue(() => {
      try {
        then.call(value, resolve, reject);
      } catch (error) {
        reject(error);
      }
    });
  }

  #settle(state, value) {
    this.#state = state;
    this.#value = value;
    for (const reaction of this.#waiting) enqueue(reaction);
    this.#waiting = undefined;
  }

  then(onFulfilled, onRejected) {
    const species = this.constructor?.[Symbol.species] ?? Promise;
    return new species((resolve, reject) => {
      const reaction = () => {
        const handler = this.#state === FULFILLED ? onFulfilled : onRejected;
        if (typeof handler !== "function") return this.#state === FULFILLED ? resolve(this.#value) : reject(this.#value);
        try {
          resolve(handler(this.#value));
        } catch (error) {
          reject(error);
        }
      };
      if (this.#state === PENDING) this.#waiting.push(reaction);
      else enqueue(reaction);
    });
  }

  catch(onRejected) {
    return this.then(undefined, onRejected);
  }

  finally(run) {
    if (typeof run !== "function") return this.then(run, run);
    const type = this.constructor ?? Promise;
    return this.then(
      (value) => type.resolve(run()).then(() => value),
      (error) =>
        type.resolve(run()).then(() => {
          throw error;
        }),
    );
  }

  get [Symbol.toStringTag]() {
    return "Promise";
  }

  static get [Symbol.species]() {
    return this;
  }

  static resolve(value) {
    return value instanceof Promise && value.constructor === this ? value : new this((resolve) => resolve(value));
  }

  static reject(error) {
    return new this((_, reject) => reject(error));
  }

  static withResolvers() {
    let resolve, reject;
    const promise = new this((first, second) => ([resolve, reject] = [first, second]));
    return { promise, resolve, reject };
  }

  static try(run, ...values) {
    return new this((resolve) => resolve(run(...values)));
  }

  static all(values) {
    return collect(this, values, (entry, index, results, left, resolve, reject) =>
      entry.then((value) => {
        results[index] = value;
        if (left.done()) resolve(results);
      }, reject),
    );
  }

  static allSettled(values) {
    return collect(this, values, (entry, index, results, left, resolve) => {
      const settle = (result) => {
        results[index] = result;
        if (left.done()) resolve(results);
      };
      entry.then(
        (value) => settle({ status: "fulfilled", value }),
        (reason) => settle({ status: "rejected", reason }),
      );
    });
  }

  static any(values) {
    return collect(
      this,
      values,
      (entry, index, errors, left, resolve, reject) =>
        entry.then(resolve, (error) => {
          errors[index] = error;
          if (left.done()) reject(new AggregateError(errors, "all promises were rejected"));
        }),
      (errors, _, reject) => reject(new AggregateError(errors, "all promises were rejected")),
    );
  }

  static race(values) {
    return new this((resolve, reject) => {
      for (const value of values) this.resolve(value).then(resolve, reject);
    });
  }
}

/** Lets `add` follow each value; `empty` says what becomes of none. */
function collect(type, values, add, empty = (results, resolve) => resolve(results)) {
  return new type((resolve, reject) => {
    const results = [];
    let count = 0;
    let isComplete = false;
    const left = { done: () => --count === 0 && isComplete };
    for (const value of values) {
      const index = results.length;
      results.push(undefined);
      count++;
      add(type.resolve(value), index, results, left, resolve, reject);
    }
    isComplete = true;
    if (results.length === 0) empty(results, resolve, reject);
  });
}
