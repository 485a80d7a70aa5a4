// plugin_cxx.cc -- A module in C++ for test_modules.py: names to be translated.
extern "C" {
#include "modules/plugin.h"

plugin_entry plugin_run;
}

namespace shop
{

volatile int figure;

class Order
{
  public:
    template <typename Fn>
    __attribute__((noinline)) void apply(Fn fn, void *arg)
    {
        fn(arg);
        figure = figure + 1;
    }

    __attribute__((noinline)) int operator+(plugin_fn *fn) const;
    void *arg;
};

int Order::operator+(plugin_fn *fn) const
{
    Order copy = *this;
    copy.apply(fn, arg);
    return figure;
}

} // namespace shop

void plugin_run(plugin_fn *fn, void *arg)
{
    shop::Order order{arg};
    shop::figure = order + fn;
}
