/* SPDX-License-Identifier: BSD-3-Clause
 * Dates (RFC 5322 3.3, obsolete forms of 4.3).  Any thread. */
#include <errno.h>
#include "smtp/header_priv.h"

int64_t header_days(int64_t year, unsigned month, unsigned day)
{
	/* Years that begin in March put the leap day last. */
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t yoe = year - era * 400;
	int64_t doy = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468;
}

void header_civil(int64_t days, int64_t *year_r, unsigned *month_r, unsigned *day_r)
{
	int64_t z = days + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;

	*day_r = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	*month_r = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	*year_r = yoe + era * 400 + (*month_r <= 2);
}

struct cursor {
	struct bytes in;
	size_t at;
};

static int number(struct cursor *c, unsigned digits_max, unsigned *digits_r)
{
	int v = 0;
	unsigned n = 0;

	c->at = header_skip_cfws(c->in, c->at);
	while (c->at < c->in.n && ascii_is_digit(c->in.p[c->at]) && n < digits_max) {
		v = v * 10 + (c->in.p[c->at++] - '0');
		n++;
	}
	*digits_r = n;
	return n ? v : -1;
}

static struct bytes letters(struct cursor *c)
{
	c->at = header_skip_cfws(c->in, c->at);
	size_t from = c->at;
	while (c->at < c->in.n && ascii_is_alpha(c->in.p[c->at]))
		c->at++;
	return bytes_make(c->in.p + from, c->at - from);
}

static bool accept(struct cursor *c, uint8_t octet)
{
	c->at = header_skip_cfws(c->in, c->at);
	if (c->at >= c->in.n || c->in.p[c->at] != octet)
		return false;
	c->at++;
	return true;
}

static unsigned month_number(struct bytes name)
{
	static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";

	for (unsigned i = 0; i < 12 && name.n >= 3; i++) {
		if (bytes_ieq(bytes_first(name, 3), bytes_make(names + 3 * i, 3)))
			return i + 1;
	}
	return 0;
}

static int16_t zone(struct cursor *c)
{
	static const struct {
		const char *name;
		int16_t minutes;
	} names[] = {
		{"EST", -300},
                {"EDT", -240},
                {"CST", -360},
                {"CDT", -300},
                {"MST", -420},
		{"MDT", -360},
                {"PST", -480},
                {"PDT", -420}
        };
	unsigned digits;
	bool minus = accept(c, '-');

	if (minus || accept(c, '+')) {
		int v = number(c, 4, &digits);
		int minutes = v < 0 ? 0 : v / 100 * 60 + v % 100;
		return (int16_t)(minus ? -minutes : minutes);
	}
	struct bytes name = letters(c);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (bytes_ieq(name, bytes_str(names[i].name)))
			return names[i].minutes;
	}
	return 0; /* RFC 5322 4.3: unknown ones are "-0000" */
}

/* hour ":" minute [":" second] */
static int time_of_day(struct cursor *c, int64_t *seconds_r)
{
	unsigned digits;
	int hour = number(c, 2, &digits), minute, second = 0;

	if (hour < 0 || hour > 23 || !accept(c, ':'))
		return -EINVAL;
	minute = number(c, 2, &digits);
	if (minute < 0 || minute > 59)
		return -EINVAL;
	if (accept(c, ':')) {
		second = number(c, 2, &digits);
		if (second < 0 || second > 60)
			return -EINVAL;
	}
	*seconds_r = hour * 3600 + minute * 60 + second;
	return 0;
}

int header_date_parse(struct bytes value, struct header_date *date_r)
{
	struct cursor c = {.in = value};
	unsigned digits;
	int64_t seconds;

	if (letters(&c).n)
		accept(&c, ',');
	int day = number(&c, 2, &digits);
	unsigned month = month_number(letters(&c));
	int year = number(&c, 4, &digits);
	if (day < 1 || day > 31 || !month || year < 0 || time_of_day(&c, &seconds) < 0)
		return -EINVAL;
	if (digits == 2)
		year += year < 50 ? 2000 : 1900; /* RFC 5322 4.3 */
	else if (digits == 3)
		year += 1900;
	int16_t minutes = zone(&c);
	int64_t days = header_days(year, month, (unsigned)day);
	*date_r = (struct header_date){.seconds = days * 86400 + seconds - minutes * 60,
		.zone_min = minutes,
		.day = (int32_t)days};
	return 0;
}
