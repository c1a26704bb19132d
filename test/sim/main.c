/*
 * The simulator's command line: many seeds with a sum at the end, or one with a trace.
 *     build/sim --seeds 20000      build/sim --seeds 500 --from 40000      build/sim --seed 4711
 */
#include "sim.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile uint64_t running; /* for the word of a seed that dies */

static void died(int sig)
{
    char text[80];
    int n = snprintf(text, sizeof text, "not ok seed %llu dies of signal %d: make sim SEED=%llu\n",
                     (unsigned long long)running, sig, (unsigned long long)running);

    fflush(stdout);
    if (write(STDOUT_FILENO, text, (size_t)n) < 0) _exit(2);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void print_totals(const totals *t)
{
    printf("%lld seeds, %lld events: %lld calls (%lld answered well), %lld requests, %lld sign-ins, %lld sign-outs\n",
           (long long)t->seeds, (long long)t->events, (long long)t->calls, (long long)t->ok, (long long)t->sends,
           (long long)t->sign_ins, (long long)t->sign_outs);
    printf("%lld exchanges: %lld rotations, %lld replays of a token in doubt (%lld answered out of grace)\n",
           (long long)t->exchanges, (long long)t->rotations, (long long)t->replays, (long long)t->graces);
    printf("sessions lost that nobody could have kept: %lld (and %lld where replay was turned off)\n",
           (long long)t->lost, (long long)t->lost_without_replay);
    printf("faults:");
    for (int f = 0; f < F_COUNT; f++) printf("%s %s %lld", f ? "," : "", sim_fault_names[f], (long long)t->faults[f]);
    putchar('\n');
}

static int replay(uint64_t seed)
{
    totals sum = {0};
    char why[400];
    bool fine;

    running = seed;
    setvbuf(stdout, NULL, _IOLBF, 0);
    fine = sim_seed(seed, true, &sum, why, sizeof why);
    print_totals(&sum);
    if (!fine) printf("not ok seed %llu: %s\n", (unsigned long long)seed, why);
    printf("%d passed, %d failed\n", fine, !fine);
    return fine ? 0 : 1;
}

static int run(uint64_t from, uint64_t count)
{
    totals sum = {0};
    char why[400];
    uint64_t failed = 0;

    for (uint64_t seed = from; seed < from + count; seed++) {
        running = seed;
        if (sim_seed(seed, false, &sum, why, sizeof why)) continue;
        if (failed++ < 10) printf("not ok seed %llu: %s\n", (unsigned long long)seed, why);
        if (failed == 1) printf("# the first of them with its trace: make sim SEED=%llu\n", (unsigned long long)seed);
        fflush(stdout);
    }
    print_totals(&sum);
    printf("%llu passed, %llu failed\n", (unsigned long long)(count - failed), (unsigned long long)failed);
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    uint64_t from = 1, count = 20000;

    signal(SIGABRT, died);
#ifndef __SANITIZE_ADDRESS__
    signal(SIGSEGV, died);
    signal(SIGBUS, died);
    signal(SIGFPE, died);
#endif
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t n = strtoull(argv[i + 1], NULL, 10);

        if (strcmp(argv[i], "--seed") == 0) return replay(n);
        if (strcmp(argv[i], "--seeds") == 0) count = n;
        else if (strcmp(argv[i], "--from") == 0) from = n;
        else argc = 0;
    }
    if (argc % 2 == 0) {
        fprintf(stderr, "usage: sim [--seeds COUNT] [--from SEED] [--seed SEED]\n");
        return 2;
    }
    return run(from, count);
}
