# gnuplot loss.gp draws loss.svg and loss.png from loss.tsv
set datafile separator tab
set encoding utf8
set title 'Masked language modelling: loss by tokens seen' noenhanced
set xlabel 'tokens seen (millions)' noenhanced
set ylabel 'cross-entropy of masked tokens (nats)' noenhanced
set key outside right top Left reverse noenhanced
set grid lt 1 lw 1 lc rgb '#E4E4E4'
set border 3
set tics nomirror
set autoscale xfix
set offsets 0, 0, graph 0.05, graph 0.05
set terminal svg size 900,540 dynamic enhanced background 'white' font 'sans,13'
set output 'loss.svg'
plot 'loss.tsv' every ::1::203 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 25 title 'training, mean of 45 steps', \
     'loss.tsv' every ::204::204 using 2:3 with points lc rgb '#80CC6677' pt 5 ps 0.8 title 'held-out texts', \
     'loss.tsv' every ::205::206 using 2:3 with lines lc rgb 'black' dt 4 lw 2 title 'frequencies of tokens'
set terminal pngcairo size 1350,810 background 'white' font 'sans,15' linewidth 1.5
set output 'loss.png'
plot 'loss.tsv' every ::1::203 using 2:3 with linespoints lc rgb '#332288' dt 1 lw 2 pt 7 ps 0.8 pi 25 title 'training, mean of 45 steps', \
     'loss.tsv' every ::204::204 using 2:3 with points lc rgb '#80CC6677' pt 5 ps 0.8 title 'held-out texts', \
     'loss.tsv' every ::205::206 using 2:3 with lines lc rgb 'black' dt 4 lw 2 title 'frequencies of tokens'
