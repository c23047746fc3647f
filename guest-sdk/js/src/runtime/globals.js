// Puts the globals in place: the first module of a component.

import { install } from "./index.js";

install();
