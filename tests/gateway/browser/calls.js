// Calls as JSON text over a WebSocket.

export class Calls {
  #socket;
  #waiting = new Map();

  constructor(socket) {
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      const { takers, messages } = this.#of(message.id);
      if (takers.length > 0) takers.shift()(message);
      else messages.push(message);
    });
    this.#socket = socket;
  }

  send(message) {
    this.#socket.send(JSON.stringify(message));
  }

  // The next message about call `id`.
  next(id) {
    return new Promise((resolve) => {
      const { takers, messages } = this.#of(id);
      if (messages.length > 0) resolve(messages.shift());
      else takers.push(resolve);
    });
  }

  #of(id) {
    if (!this.#waiting.has(id)) this.#waiting.set(id, { takers: [], messages: [] });
    return this.#waiting.get(id);
  }
}
