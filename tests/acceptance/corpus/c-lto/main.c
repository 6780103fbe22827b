extern int two(int argument);

int main(int argc, char **argv)
{
	(void)argv;
	return two(argc) == 5 ? 0 : 1;
}
