// A spare-parts desk: what it sells, an index to find it by, and answers to queries.
"use strict";

const SIZES = ["M3", "M4", "M5", "M6", "M8", "M10", "M12", "M16"];
const METALS = { steel: 1, brass: 2.4, copper: 2.9, titanium: 11.5 };
const THINGS = {
    bolt: { cents: 12, group: "fasteners", also: ["screw"] },
    nut: { cents: 7, group: "fasteners", also: [] },
    washer: { cents: 3, group: "fasteners", also: ["shim", "ring"] },
    bracket: { cents: 145, group: "fittings", also: ["support"] },
    hinge: { cents: 230, group: "fittings", also: ["joint"] },
    coupling: { cents: 310, group: "pipes", also: ["connector", "joint"] },
    elbow: { cents: 275, group: "pipes", also: ["bend"] },
    valve: { cents: 890, group: "pipes", also: ["tap"] },
};
const RESULTS = 5;

class Part {
    constructor(number, thing, metal, size) {
        Object.assign(this, { number, thing, metal, size, group: THINGS[thing].group });
        this.cents = Math.round(THINGS[thing].cents * METALS[metal] * (1 + SIZES.indexOf(size) / 4));
    }

    get name() {
        return `${this.metal} ${this.thing} ${this.size}`;
    }

    get words() {
        return [this.name, this.group, ...THINGS[this.thing].also].join(" ").toLowerCase();
    }

    // Ten of a kind are a tenth cheaper, a hundred a fifth.
    price(count) {
        const rebate = count >= 100 ? 0.8 : count >= 10 ? 0.9 : 1;
        return Math.round(this.cents * count * rebate);
    }
}

// Which parts have which three letters in a row, so that a word with a mistake in it still finds something.
class Index {
    #places = new Map();
    #lengths = new Map();

    static* trigrams(text) {
        for (const word of text.match(/[a-z0-9]+/g) ?? []) {
            const padded = `^${word}$`;
            for (let at = 0; at + 3 <= padded.length; at += 1) {
                yield padded.slice(at, at + 3);
            }
        }
    }

    add(part) {
        const trigrams = new Set(Index.trigrams(part.words));
        this.#lengths.set(part.number, trigrams.size);
        for (const trigram of trigrams) {
            if (!this.#places.has(trigram)) {
                this.#places.set(trigram, []);
            }
            this.#places.get(trigram).push(part.number);
        }
    }

    // Part numbers and how well they fit, the best first.
    find(text) {
        const hits = new Map();
        const wanted = new Set(Index.trigrams(text.toLowerCase()));
        for (const trigram of wanted) {
            for (const number of this.#places.get(trigram) ?? []) {
                hits.set(number, (hits.get(number) ?? 0) + 1);
            }
        }
        const fit = ([number, hits]) => [number, hits / (wanted.size + this.#lengths.get(number) - hits)];
        return [...hits].map(fit).sort(([a, x], [b, y]) => y - x || a - b);
    }

    get size() {
        return this.#places.size;
    }
}

const parts = new Map();
const index = new Index();
for (const thing in THINGS) {
    for (const metal in METALS) {
        for (const size of SIZES) {
            const part = new Part(1000 + parts.size, thing, metal, size);
            parts.set(part.number, part);
            index.add(part);
        }
    }
}

// The cheapest and the dearest part of each group.
const ranges = [...parts.values()].reduce((ranges, { group, cents }) => {
    const [least, most] = ranges[group] ?? [Infinity, 0];
    return { ...ranges, [group]: [Math.min(least, cents), Math.max(most, cents)] };
}, {});

const euros = (cents) => `${(cents / 100).toFixed(2)} EUR`;

function parse(query) {
    const decode = (text) => decodeURIComponent(text.replace(/\+/g, " "));
    const pairs = query.split("&").filter(Boolean).map((pair) => pair.split("=").map(decode));
    return Object.fromEntries(pairs);
}

const answers = {
    find({ q = "", count = "1" }) {
        const number = Math.max(1, Number.parseInt(count, 10) || 1);
        const found = index.find(q).slice(0, RESULTS);
        const line = ([id, fit]) => {
            const part = parts.get(id);
            return `${id} ${part.name.padEnd(22)} ${number} for ${euros(part.price(number))} (${Math.round(fit * 100)}%)`;
        };
        return found.length ? found.map(line) : ["nothing"];
    },
    groups: () => Object.entries(ranges).map(([group, range]) => `${group}: ${range.map(euros).join(" to ")}`),
    numbers: () => [`${parts.size} parts, ${index.size} trigrams`],
};

// What the program calls: a query string in, text out.
function answer(query) {
    const { ask = "find", ...rest } = parse(query);
    const lines = Object.hasOwn(answers, ask) ? answers[ask](rest) : [`ask for ${Object.keys(answers).join(", ")}`];
    return lines.join("\n");
}
