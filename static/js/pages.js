// Lists and forms that need nothing of their own.

import { start } from "./common.js";

start();
