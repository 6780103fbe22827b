#include <stdio.h>

extern const char *part_a, *part_b, *part_c, *part_d, *part_e, *part_f, *part_g, *part_h;

int main(void)
{
	const char *parts[] = {part_a, part_b, part_c, part_d, part_e, part_f, part_g, part_h};

	for (int number = 0; number < 8; number++)
		puts(parts[number]);
	return 0;
}
