/* SPDX-License-Identifier: BSD-3-Clause */
#include "smtp/sasl.h"
#include <errno.h>

static const struct {
	struct bytes name;
	enum sasl_mechanism mechanism;
} mechanisms[] = {
	{BYTES_LIT("PLAIN"),              SASL_PLAIN     },
	{BYTES_LIT("LOGIN"),              SASL_LOGIN     },
	{BYTES_LIT("SCRAM-SHA-256"),      SASL_SCRAM     },
	{BYTES_LIT("SCRAM-SHA-256-PLUS"), SASL_SCRAM_PLUS},
};

enum sasl_mechanism sasl_mechanism_find(struct bytes name)
{
	for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
		if (bytes_ieq(name, mechanisms[i].name))
			return mechanisms[i].mechanism;
	}
	return SASL_NONE;
}

int sasl_plain_parse(struct bytes message, struct bytes *user_r, struct bytes *password_r)
{
	ptrdiff_t first = bytes_find(message, 0, 0);
	ptrdiff_t second = first < 0 ? -1 : bytes_find(message, 0, (size_t)first + 1);

	if (second < 0)
		return -EINVAL;
	struct bytes authorize = bytes_first(message, (size_t)first);
	*user_r = bytes_make(message.p + first + 1, (size_t)(second - first - 1));
	*password_r = bytes_skip(message, (size_t)second + 1);
	if (user_r->n == 0 || password_r->n == 0 || bytes_find(*password_r, 0, 0) >= 0)
		return -EINVAL;
	return authorize.n == 0 || bytes_ieq(authorize, *user_r) ? 0 : -EINVAL;
}
