#include <map>
#include <string>

static const std::string compiled = __TIME__;
