/* The words of main.c. */
const char *const words[] = {"files", "times", "numbers", 0};
