// What was asked of the viewer here and has not been heard there: until then controls show the wish, not what was told before.

export class Wishes {
  constructor(send) {
    Object.assign(this, { send, commands: 0, asked: new Map() }); // control -> its value, and the number of the command
  }

  // Another connection: its commands are counted anew.
  restart() {
    this.commands = 0;
    this.asked.clear();
  }

  command(message) {
    this.commands += 1;
    this.send(message);
  }

  ask(id, value, message) {
    this.command(message);
    this.asked.set(id, { value, number: this.commands });
  }

  // What a control is to show, where the viewer told a value after so many of our commands.
  settle(id, told, heard) {
    const wish = this.asked.get(id);
    if (wish?.number > heard) return wish.value;
    this.asked.delete(id);
    return told;
  }

  // What a control was set to last, here or there.
  wanted(id, told) {
    return this.asked.has(id) ? this.asked.get(id).value : told;
  }
}
