import { greet } from "./greet.js";
import { table } from "./table.js";
console.log(greet(BUILT), table);
