exports.c = 3;
