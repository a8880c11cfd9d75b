# gnuplot best_so_far.gp draws best_so_far.svg and best_so_far.png from best_so_far.tsv
set datafile separator tab
set encoding utf8
set title 'Best accuracy found so far, by study' noenhanced
set xlabel 'trial number' noenhanced
set ylabel 'best test accuracy so far' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'best_so_far.svg'
plot 'best_so_far.tsv' every ::1::100 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 12 title 'nas', \
     'best_so_far.tsv' every ::101::102 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title '--model tiny'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'best_so_far.png'
plot 'best_so_far.tsv' every ::1::100 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 12 title 'nas', \
     'best_so_far.tsv' every ::101::102 using 2:3 with lines lc rgb 'black' dt 3 lw 2 title '--model tiny'
