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

/** Whether jobs wait. */
export function hasJobs() {
  return nextJob < jobs.length;
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

/** What became of a promise of this class; nothing while it is pending. */
export let outcomeOf;

/** Stands for an executor that is not there: `then` makes promises that it settles itself. */
const WITHOUT_EXECUTOR = () => {};

export class Promise {
  #state = PENDING;
  #value = undefined;
  #waiting = undefined;

  static {
    outcomeOf = (promise) => (promise.#state === PENDING ? undefined : { isFulfilled: promise.#state === FULFILLED, value: promise.#value });
  }

  constructor(executor) {
    if (executor === WITHOUT_EXECUTOR) return;
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
    return {
      resolve: (value) => {
        if (isSettled) return;
        isSettled = true;
        this.#resolve(value);
      },
      reject: (error) => {
        if (isSettled) return;
        isSettled = true;
        this.#settle(REJECTED, error);
      },
    };
  }

  #resolve(value) {
    if (value === null || (typeof value !== "object" && typeof value !== "function")) return this.#settle(FULFILLED, value);
    if (value === this) return this.#settle(REJECTED, new TypeError("a promise cannot be resolved with itself"));
    let then;
    try {
      then = value.then;
    } catch (error) {
      return this.#settle(REJECTED, error);
    }
    if (typeof then !== "function") return this.#settle(FULFILLED, value);
    enqueue(() => {
      const { resolve, reject } = this.#settlers();
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
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (typeof waiting === "function") enqueue(waiting);
    else if (waiting) waiting.forEach(enqueue);
  }

  then(onFulfilled, onRejected) {
    const species = this.constructor?.[Symbol.species] ?? Promise;
    if (species === Promise) {
      const next = new Promise(WITHOUT_EXECUTOR);
      this.#wait(() => this.#react(onFulfilled, onRejected, next));
      return next;
    }
    return new species((resolve, reject) => this.#wait(() => this.#react(onFulfilled, onRejected).then(resolve, reject)));
  }

  /** Most promises have one that waits for them: it stands alone, and more in a list. */
  #wait(reaction) {
    if (this.#state !== PENDING) enqueue(reaction);
    else if (this.#waiting === undefined) this.#waiting = reaction;
    else if (typeof this.#waiting === "function") this.#waiting = [this.#waiting, reaction];
    else this.#waiting.push(reaction);
  }

  /** Settles `next` by the handler for what became of this one. */
  #react(onFulfilled, onRejected, next = new Promise(WITHOUT_EXECUTOR)) {
    const isFulfilled = this.#state === FULFILLED;
    const handler = isFulfilled ? onFulfilled : onRejected;
    if (typeof handler !== "function") {
      next.#settle(this.#state, this.#value);
      return next;
    }
    try {
      next.#resolve(handler(this.#value));
    } catch (error) {
      next.#settle(REJECTED, error);
    }
    return next;
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
