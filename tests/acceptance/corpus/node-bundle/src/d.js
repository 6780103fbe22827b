exports.d = 4;
