static inline int answer(void)
{
	return 42;
}
