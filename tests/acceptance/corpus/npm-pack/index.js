"use strict";
module.exports = require("./build.json");
