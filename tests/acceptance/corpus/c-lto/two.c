extern int one(int argument);

static int times;

int two(int argument)
{
	times++;
	return one(argument) + times;
}
