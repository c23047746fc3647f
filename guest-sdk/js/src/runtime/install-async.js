import { installAsync } from "./globals-async.js";

installAsync();
