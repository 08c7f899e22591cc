// A guest CPU benchmark. Each test prints: "T <name> <seconds> <check>".
// Arguments: names of tests to run (default: all).
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <time.h>
#include <math.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#ifdef WITHMARK
#define MARK __asm__ volatile(".byte 0x0f,0x1f,0x84,0x00,0xbe,0xba,0xfe,0xca")
#else
#define MARK
#endif
static double now(void){struct timespec t;clock_gettime(CLOCK_MONOTONIC,&t);return t.tv_sec+t.tv_nsec*1e-9;}
static uint32_t rs=12345;static uint32_t rnd(void){rs^=rs<<13;rs^=rs>>17;rs^=rs<<5;return rs;}
// --- sha256
static const uint32_t K[64]={0x428a2f98,0x71374491,0xb5c0fbcf,0xe9b5dba5,0x3956c25b,0x59f111f1,0x923f82a4,0xab1c5ed5,0xd807aa98,0x12835b01,0x243185be,0x550c7dc3,0x72be5d74,0x80deb1fe,0x9bdc06a7,0xc19bf174,0xe49b69c1,0xefbe4786,0x0fc19dc6,0x240ca1cc,0x2de92c6f,0x4a7484aa,0x5cb0a9dc,0x76f988da,0x983e5152,0xa831c66d,0xb00327c8,0xbf597fc7,0xc6e00bf3,0xd5a79147,0x06ca6351,0x14292967,0x27b70a85,0x2e1b2138,0x4d2c6dfc,0x53380d13,0x650a7354,0x766a0abb,0x81c2c92e,0x92722c85,0xa2bfe8a1,0xa81a664b,0xc24b8b70,0xc76c51a3,0xd192e819,0xd6990624,0xf40e3585,0x106aa070,0x19a4c116,0x1e376c08,0x2748774c,0x34b0bcb5,0x391c0cb3,0x4ed8aa4a,0x5b9cca4f,0x682e6ff3,0x748f82ee,0x78a5636f,0x84c87814,0x8cc70208,0x90befffa,0xa4506ceb,0xbef9a3f7,0xc67178f2};
#define R(x,n) (((x)>>(n))|((x)<<(32-(n))))
static void blk(uint32_t*h,const uint8_t*p){uint32_t w[64];for(int i=0;i<16;i++)w[i]=p[4*i]<<24|p[4*i+1]<<16|p[4*i+2]<<8|p[4*i+3];
 for(int i=16;i<64;i++){uint32_t a=w[i-15],b=w[i-2];w[i]=w[i-16]+(R(a,7)^R(a,18)^a>>3)+w[i-7]+(R(b,17)^R(b,19)^b>>10);}
 uint32_t a=h[0],b=h[1],c=h[2],d=h[3],e=h[4],f=h[5],g=h[6],z=h[7];
 for(int i=0;i<64;i++){uint32_t t1=z+(R(e,6)^R(e,11)^R(e,25))+((e&f)^(~e&g))+K[i]+w[i],t2=(R(a,2)^R(a,13)^R(a,22))+((a&b)^(a&c)^(b&c));z=g;g=f;f=e;e=d+t1;d=c;c=b;b=a;a=t1+t2;}
 h[0]+=a;h[1]+=b;h[2]+=c;h[3]+=d;h[4]+=e;h[5]+=f;h[6]+=g;h[7]+=z;}
static uint64_t t_sha(void){static uint8_t buf[1<<20];for(int i=0;i<1<<20;i++)buf[i]=i*7+(i>>8);
 uint32_t h[8]={0x6a09e667,0xbb67ae85,0x3c6ef372,0xa54ff53a,0x510e527f,0x9b05688c,0x1f83d9ab,0x5be0cd19};
 for(int m=0;m<64;m++)for(int i=0;i<1<<20;i+=64)blk(h,buf+i);return (uint64_t)h[0]<<32|h[1];}
// --- sieve of 16M, twice
static uint64_t t_sieve(void){int n=16<<20;uint8_t*s=malloc(n);uint64_t c=0;for(int r=0;r<2;r++){c=0;memset(s,1,n);for(int i=2;i*i<n;i++)if(s[i])for(int j=i*i;j<n;j+=i)s[j]=0;for(int i=2;i<n;i++)c+=s[i];}free(s);return c;}
// --- linked-list merge sort, 512k nodes of 32 bytes in shuffled order
struct nd{struct nd*n;uint32_t k;uint32_t pad[4];};
static struct nd*mrg(struct nd*a,struct nd*b){struct nd h,*t=&h;while(a&&b){if(a->k<=b->k){t->n=a;a=a->n;}else{t->n=b;b=b->n;}t=t->n;}t->n=a?a:b;return h.n;}
static struct nd*srt(struct nd*l){if(!l||!l->n)return l;struct nd*s=l,*f=l->n;while(f&&f->n){s=s->n;f=f->n->n;}f=s->n;s->n=0;return mrg(srt(l),srt(f));}
static uint64_t t_lsort(void){int n=512<<10;struct nd*p=malloc(n*sizeof*p);uint32_t*ix=malloc(n*4);rs=12345;for(int i=0;i<n;i++)ix[i]=i;for(int i=n-1;i>0;i--){int j=rnd()%(i+1);uint32_t t=ix[i];ix[i]=ix[j];ix[j]=t;}
 for(int i=0;i<n;i++){p[ix[i]].k=rnd();p[ix[i]].n=i+1<n?&p[ix[i+1]]:0;}struct nd*l=srt(p+ix[0]);uint64_t h=0;for(;l;l=l->n)h=h*31+l->k;free(p);free(ix);return h;}
// --- quicksort via qsort() callback (indirect calls), 512k ints
static int cmp(const void*a,const void*b){uint32_t x=*(uint32_t*)a,y=*(uint32_t*)b;return x<y?-1:x>y;}
static uint64_t t_qsort(void){int n=512<<10;uint32_t*p=malloc(n*4);rs=777;for(int i=0;i<n;i++)p[i]=rnd();qsort(p,n,4,cmp);uint64_t h=0;for(int i=0;i<n;i++)h=h*31+p[i];free(p);return h;}
// --- n-body, doubles, 1M steps
struct bd{double x,y,z,vx,vy,vz,m;};
static uint64_t t_nbody(void){const double PI=3.141592653589793,SM=4*PI*PI,D=365.24;struct bd b[5]={{0,0,0,0,0,0,SM},
{4.84143144246472090e+00,-1.16032004402742839e+00,-1.03622044471123109e-01,1.66007664274403694e-03*D,7.69901118419740425e-03*D,-6.90460016972063023e-05*D,9.54791938424326609e-04*SM},
{8.34336671824457987e+00,4.12479856412430479e+00,-4.03523417114321381e-01,-2.76742510726411899e-03*D,4.99852801234917238e-03*D,2.30417297573763929e-05*D,2.85885980666130812e-04*SM},
{1.28943695621391310e+01,-1.51111514016986312e+01,-2.23307578892655734e-01,2.96460137564761618e-03*D,2.37847173959480950e-03*D,-2.96589568540237556e-05*D,4.36624404335156298e-05*SM},
{1.53796971148509165e+01,-2.59193146099879641e+01,1.79258772950371181e-01,2.68067772490389322e-03*D,1.62824170038242295e-03*D,-9.51592254519715870e-05*D,5.15138902046611451e-05*SM}};
 for(int s=0;s<1000000;s++){for(int i=0;i<5;i++)for(int j=i+1;j<5;j++){double dx=b[i].x-b[j].x,dy=b[i].y-b[j].y,dz=b[i].z-b[j].z,d2=dx*dx+dy*dy+dz*dz,mg=0.01/(d2*__builtin_sqrt(d2));
  b[i].vx-=dx*b[j].m*mg;b[i].vy-=dy*b[j].m*mg;b[i].vz-=dz*b[j].m*mg;b[j].vx+=dx*b[i].m*mg;b[j].vy+=dy*b[i].m*mg;b[j].vz+=dz*b[i].m*mg;}
  for(int i=0;i<5;i++){b[i].x+=0.01*b[i].vx;b[i].y+=0.01*b[i].vy;b[i].z+=0.01*b[i].vz;}}
 return (uint64_t)(b[0].x*1e9);}
// --- memcpy 1 GiB in 8 MiB blocks (libc's memcpy as the CPU's cpuid selects it)
static uint64_t t_memcpy(void){size_t n=8<<20;uint8_t*a=malloc(n),*c=malloc(n);memset(a,3,n);memset(c,1,n);for(int i=0;i<128;i++){a[i]=i;memcpy(c,a,n);__asm__ volatile(""::"r"(c):"memory");}uint64_t r=c[100];free(a);free(c);return r;}
// --- memcpy by 'rep movsb', 1 GiB
static uint64_t t_movs(void){size_t n=8<<20;uint8_t*a=malloc(n),*c=malloc(n);memset(a,3,n);memset(c,1,n);for(int i=0;i<128;i++){a[i]=i;void*d=c;const void*s=a;size_t k=n;__asm__ volatile("rep movsb":"+D"(d),"+S"(s),"+c"(k)::"memory");}uint64_t r=c[100];free(a);free(c);return r;}
// --- 64-bit integer LCG/multiply/divide mix, 40M
static uint64_t t_int64(void){uint64_t x=88172645463325252ull,s=0;for(int i=0;i<20000000;i++){x^=x<<13;x^=x>>7;x^=x<<17;s+=x*0x9E3779B97F4A7C15ull;if(!(i&15))s^=x/((s&0xffff)+1);}return s;}
// --- kernel entry: getppid x 500k
static uint64_t t_syscall(void){uint64_t s=0;for(int i=0;i<500000;i++)s+=syscall(SYS_getppid);return s;}
// --- page faults: mmap 16 MiB, touch each page, munmap; 16 times = 65536 faults
static uint64_t t_fault(void){size_t n=16<<20;uint64_t f=0;for(int r=0;r<16;r++){uint8_t*p=mmap(0,n,PROT_READ|PROT_WRITE,MAP_PRIVATE|MAP_ANONYMOUS,-1,0);if(p==MAP_FAILED)return ~0ull;madvise(p,n,MADV_NOHUGEPAGE);for(size_t i=0;i<n;i+=4096){p[i]=1;f++;}munmap(p,n);}return f;}
// --- fork+wait x 500
static uint64_t t_fork(void){uint64_t s=0;for(int i=0;i<500;i++){int st;pid_t p=fork();if(!p)_exit(i&127);if(p<0)return ~0ull;waitpid(p,&st,0);s+=WEXITSTATUS(st);}return s;}
// --- context switches: pipe ping-pong x 20k round trips
static uint64_t t_pipe(void){int a[2],b[2];char c=1;uint64_t s=0;if(pipe(a)||pipe(b))return ~0ull;pid_t p=fork();if(!p){for(int i=0;i<20000;i++){if(read(a[0],&c,1)!=1)_exit(1);if(write(b[1],&c,1)!=1)_exit(1);}_exit(0);}
 for(int i=0;i<20000;i++){if(write(a[1],&c,1)!=1)break;if(read(b[0],&c,1)!=1)break;s++;}waitpid(p,0,0);return s;}
static struct{const char*n;uint64_t(*f)(void);}T[]={{"sha256_64MiB",t_sha},{"sieve_2x16M",t_sieve},{"listsort_512k",t_lsort},{"qsort_512k",t_qsort},{"int64_20M",t_int64},{"nbody_1M",t_nbody},{"memcpy_1GiB",t_memcpy},{"repmovsb_1GiB",t_movs},{"syscall_500k",t_syscall},{"fault_64k",t_fault},{"fork_500",t_fork},{"pipe_20k",t_pipe}};
int main(int c,char**v){setvbuf(stdout,0,_IOLBF,0);double a0=now();for(unsigned i=0;i<sizeof T/sizeof*T;i++){int on=c<2;for(int j=1;j<c;j++)on|=!strncmp(v[j],T[i].n,strlen(v[j]));if(!on)continue;
 printf("S %s\n",T[i].n);double t=now();MARK;uint64_t r=T[i].f();MARK;t=now()-t;printf("T %s %.4f %llx\n",T[i].n,t,(unsigned long long)r);}printf("TOTAL %s %.4f\n",v[0],now()-a0);return 0;}
