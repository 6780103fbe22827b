int one(int argument)
{
	return argument * 3 + 1;
}
